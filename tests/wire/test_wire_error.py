"""The parsers' one error: it is what each of them raises, and it quotes nothing of what it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.wire.event_stream import EventStreamDecoder, RawFrames, encode_frame
from relay_trio.wire.json_array import JsonArrayElements
from relay_trio.wire.json_members import MemberScanner
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = "a private prompt"


@pytest.mark.parametrize(
    ("feed", "broken"),
    [
        (MemberScanner(frozenset()).feed, f'{{"a": "{PROMPT}"]'.encode()),
        (MemberScanner(frozenset()).feed, f'{{"{PROMPT * 8000}": 1}}'.encode()),
        (RawFrames().feed, PROMPT.encode()),
        (RawFrames().feed, encode_frame({"a": PROMPT}, PROMPT.encode())[:-1] + b"?"),
        (EventStreamDecoder().feed, encode_frame({"a": b"\xff"}, PROMPT.encode()).replace(b"\6", b"\7")),
        (JsonArrayElements().feed, f'["{PROMPT}"]'.encode()),
    ],
)
def test_each_parser_raises_the_one_error_without_what_it_read(feed: Callable[[bytes], object], broken: bytes) -> None:
    """What a parser reads is somebody's prompt or answer, and errors go to logs."""
    with pytest.raises(WireError) as raised:
        feed(broken)
    assert not any(word in str(raised.value) for word in PROMPT.split() if len(word) > 1)
