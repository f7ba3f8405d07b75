"""JSON objects and arrays as the texts that they are, for those who change a part and leave all others as they came."""

from __future__ import annotations

import json
import re

_WHITE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)  # numbers of any length: only places are looked for


def member_texts(text: str) -> list[tuple[str, str]]:
    """Name and whole text (name, colon, value) of each top-level member. ``text`` must be one sound JSON object."""
    found = []
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "}":
        start = position
        name, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        _, position = _DECODER.raw_decode(text, position)
        found.append((name, text[start:position]))
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def value_text(member: str) -> str:
    """The value of a member, whose whole text ``member`` is."""
    _, position = _DECODER.raw_decode(member, 0)
    return member[_skip(member, _skip(member, position) + 1) :]


def element_texts(text: str) -> list[str]:
    """The whole text of each element. ``text`` must be one sound JSON array."""
    found = []
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "]":
        start = position
        _, position = _DECODER.raw_decode(text, position)
        found.append(text[start:position])
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def _skip(text: str, position: int) -> int:
    match = _WHITE.match(text, position)
    assert match is not None
    return match.end()
