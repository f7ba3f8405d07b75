"""What is wrong with a configuration: messages that name the setting, what was expected, what came and what helps.

Values are shown only where they cannot be a secret: never for a setting that is one, never what a reference stands
for, and cut short where they look like a key in the wrong place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from relay_trio.config.root import secret_keys
from relay_trio.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

Where = tuple[str | int, ...]
"""The place of a value: ``("account", 0, "api_key")``."""

_LOOKS_LIKE_A_KEY = re.compile(r"(sk-|rt_|AKIA|ASIA|ABSK|AIza|ghp_|Bearer )")
_LONGEST_SHOWN_CHARACTERS = 60


NOWHERE: Mapping[str, str] = MappingProxyType({})
"""For a table whose settings stand in no other one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to repair. ``path`` is written as in the file (``account[0].name``), or is a variable's name.

    Both are one line, whatever a key or a value held.
    """

    path: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _printable(self.path))
        object.__setattr__(self, "message", _printable(self.message))


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.path} {problem.message}" for problem in self.problems))


def written(where: Where) -> str:
    """``where`` as in a message: ``account[0].api_key``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """``value`` as it may be shown in a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if _LOOKS_LIKE_A_KEY.match(value):
            return "what looks like a secret"
        text = _printable(value)
        return f'"{text}"' if len(text) <= _LONGEST_SHOWN_CHARACTERS else f'"{text[:_LONGEST_SHOWN_CHARACTERS]}…"'
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number beyond 64 bits"
    if isinstance(value, float):
        return str(value)
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or a time"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    where: Where,
    references: Mapping[Where, str],
    elsewhere: Mapping[str, str] = NOWHERE,
) -> list[tuple[Where, str]]:
    """``error``, raised by ``model`` for the table at ``where``, as places and messages.

    ``references`` says which values came from ``env:NAME`` or ``file:/path``: those are named, never shown.
    ``elsewhere`` says of settings that ``model`` does not have where they belong: ``provider = "bedrock"``.
    """
    return [
        (
            (*where, *_place(detail)),
            _message(detail, model, references.get((*where, *_place(detail))), elsewhere),
        )
        for detail in error.errors(include_url=False)
    ]


def not_a_choice(value: object, choices: Sequence[str], reference: str | None) -> str:
    """The message for a ``value`` that is none of ``choices``; ``reference`` is where it came from, if not the file."""
    return _with_value("must be one of " + ", ".join(choices), value, reference, choices)


def _place(detail: ErrorDetails) -> Where:
    """Where the error is. One of a whole table names in its context the setting that should change."""
    key = detail.get("ctx", {}).get("key")
    return (*detail["loc"], key) if key else detail["loc"]


def _message(detail: ErrorDetails, model: type[BaseModel], reference: str | None, elsewhere: Mapping[str, str]) -> str:
    key = detail["loc"][0] if detail["loc"] else None
    if detail["type"] == "missing":
        return "is required"
    if detail["type"] == "extra_forbidden":
        place = elsewhere.get(str(key))
        return f"is only for {place}" if place else "is not a setting" + did_you_mean(key, list(model.model_fields))
    expected = _expected(detail)
    if reference is not None and detail["input"] == "":
        return f"{expected}, {_got_from(reference, detail['input'])}"
    if not detail["loc"] or detail["type"] in ("secret", "too_short") or key in secret_keys():
        return expected
    if reference is None and key == "base_url" and "@" in str(detail["input"]):
        return expected
    return _with_value(expected, detail["input"], reference, _choices(detail))


def _with_value(expected: str, value: object, reference: str | None, choices: Sequence[str]) -> str:
    if reference is not None:
        return f"{expected}, {_got_from(reference, value)}"
    return f"{expected}, got {shown(value)}" + (did_you_mean(value, choices) if choices else "")


def _got_from(reference: str, value: object) -> str:
    """What a reference stands for is said only where that is nothing."""
    if value != "":
        return f"got the value of {reference}"
    scheme, _, name = reference.partition(":")
    return f"and {name} is set but empty" if scheme == "env" else f"and {name} is empty"


def _choices(detail: ErrorDetails) -> list[str]:
    """What the value could have been: the members of a literal, or the ``choices`` of a type of ours."""
    if detail["type"] == "literal_error":
        return re.findall(r"'([^']*)'", detail["ctx"]["expected"])
    choices: list[str] = detail.get("ctx", {}).get("choices", [])
    return choices


def _expected(detail: ErrorDetails) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "literal_error":
        return "must be one of " + ", ".join(_choices(detail))
    if kind.startswith("int_"):
        return "must be a whole number"
    if kind.startswith("float_") or kind == "finite_number":
        return "must be a number"
    if kind.startswith("bool_"):
        return "must be true or false"
    if kind in ("string_type", "path_type"):
        return "must be text"
    if kind == "tuple_type":
        return "must be a list"
    if kind == "too_short":
        return "must not be empty"
    if kind == "greater_than":
        return f"must be more than {context['gt']:g}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']:g}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    return detail["msg"]
