"""What holds for every parser of ``wire/`` and any bytes: one check for each, called by the tests and by the fuzzer.

A check feeds the same bytes whole and cut by ``cut`` and compares all that can be seen of the parser; it compares with
``json`` where the bytes are JSON; it sends what was parsed through the encoder again. An ``AssertionError`` is a
finding, and so is any exception that is not a ``WireError``.
"""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from zlib import crc32

from relay_trio.wire.event_stream import EventStreamDecoder, RawFrames, encode_frame, parse_frame
from relay_trio.wire.json_array import JsonArrayElements
from relay_trio.wire.json_members import JsonLimitError, MemberScanner
from relay_trio.wire.sse import EventBlocks, parse_block
from relay_trio.wire.wire_error import WireError
from tests.support.sse import sse_events

if TYPE_CHECKING:
    from collections.abc import Callable

    Cut = Callable[[bytes], list[bytes]]

NAMES = frozenset({"a", "usage", "model"})


def sse(wire: bytes, cut: Cut) -> None:
    """Events, what was dropped, and whether an event is unfinished, under a limit that small inputs reach too."""
    assert b"".join(cut(wire)) == wire
    for limit in (24, 1 << 20):
        assert _sse(cut(wire), limit) == _sse([wire], limit)
    events = sse_events(wire)
    lines = "".join(
        f"event: {event.event}\n" + "".join(f"data: {line}\n" for line in event.data.split("\n")) + "\n"
        for event in events
    )
    assert sse_events(lines.encode()) == events


def _sse(pieces: list[bytes], limit: int) -> object:
    blocks = EventBlocks(max_block_bytes=limit)
    found = [block for piece in pieces for block in blocks.feed(piece)]
    assert all(len(block) <= limit for block in found)
    return found, [parse_block(block) for block in found], blocks.oversized, blocks.is_mid_block


def json_members(wire: bytes, cut: Cut) -> None:
    """The members, or that a limit was passed; the same members as ``json`` finds where it finds an object."""
    found = _json_members([wire])
    assert _json_members(cut(wire)) == found
    value = _json(wire)
    if found is None or not isinstance(value, dict):
        return
    members, _, is_object, is_whole = found
    assert is_object
    assert is_whole
    read = {name: json.dumps(json.loads(raw)) for name, raw in members.items()}
    assert read == {name: json.dumps(member) for name, member in value.items() if name in NAMES}


def _json_members(pieces: list[bytes]) -> tuple[dict[str, bytes], list[str], bool, bool] | None:
    scanner = MemberScanner(NAMES, max_depth=8, max_tokens=200)
    try:
        for piece in pieces:
            scanner.feed(piece)
    except JsonLimitError:
        return None
    return scanner.members, scanner.duplicates, scanner.is_object, scanner.is_whole


def event_stream(wire: bytes, cut: Cut) -> None:
    """The bytes as a stream. By itself the fuzzer finds no checksum that is right: see the next two."""
    assert _frames(cut(wire)) == _frames([wire])


def event_stream_headers(wire: bytes, cut: Cut) -> None:
    """The bytes as the headers of a frame whose checksums are right; what was read goes through the encoder."""
    lengths = struct.pack("!II", 16 + len(wire), len(wire))
    frame = lengths + crc32(lengths).to_bytes(4, "big") + wire
    frame += crc32(frame).to_bytes(4, "big")
    frames, damage, *_ = whole = _frames([frame])
    assert _frames(cut(frame)) == whole
    if damage is None:
        (parsed,) = frames
        again = encode_frame(parsed.headers, parsed.payload)
        assert parse_frame(again) == parsed
        assert encode_frame(parse_frame(again).headers) == again


def event_stream_frames(wire: bytes, cut: Cut) -> None:
    """The bytes as a payload between other frames, and after them; where large frames are dropped, and where not."""
    chunk = encode_frame({":event-type": "chunk"}, wire)
    stream = encode_frame({"a": True}) + chunk + encode_frame({"b": -1}, b"x") + wire
    for large_bytes in (40, 1 << 20):
        whole = _frames([stream], large_bytes)
        assert _frames(cut(stream), large_bytes) == whole
        raws = whole[3]
        expected = [b"", b"x"] if len(chunk) > large_bytes else [b"", wire, b"x"]
        assert [parse_frame(raw).payload for raw in raws][: len(expected)] == expected


def _frames(pieces: list[bytes], large_bytes: int = 1 << 20) -> Any:
    decoder, raw_frames = EventStreamDecoder(), RawFrames(_is_never_needed, large_bytes=large_bytes)
    frames, raws = _feed(decoder, pieces), _feed(raw_frames, pieces)
    assert all(len(raw) <= large_bytes for raw in raws)
    if decoder.damage is None and large_bytes == 1 << 20:
        assert [parse_frame(raw) for raw in raws] == frames
    seen = frames, decoder.damage, decoder.is_mid_frame
    return *seen, raws, raw_frames.damage, raw_frames.is_mid_frame


def _is_never_needed(beginning: bytes) -> bool:
    return False


def _feed(parser: Any, pieces: list[bytes]) -> list[Any]:
    """All that came, and that damage was raised as often as it must be: always after the last of it."""
    found: list[Any] = []
    for piece in pieces:
        was_damaged = parser.damage is not None
        with suppress(WireError):
            found += parser.feed(piece)
            assert not was_damaged
    return found


def json_array(wire: bytes, cut: Cut) -> None:
    """The elements; the same as ``json`` finds; and an array that was broken between elements can be ended."""
    for limit in (16, 1 << 20):
        assert _elements(cut(wire), limit) == _elements([wire], limit)
    elements, damage, is_complete, _, joint, *_ = _elements([wire], 1 << 20)
    value = _json(wire)
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list) and all(isinstance(element, dict) for element in value):
        assert damage is None
        assert is_complete
        assert json.dumps([json.loads(element) for element in elements]) == json.dumps(value)
    if joint is not None:
        ended = _elements([wire, joint, b'{"error":1}', b"]"], 1 << 20)
        assert ended[:3] == ([*elements, b'{"error":1}'], None, True)


def _elements(pieces: list[bytes], limit: int) -> Any:
    array = JsonArrayElements(limit)
    elements = _feed(array, pieces)
    assert all(len(element) <= limit for element in elements)
    seen = elements, array.damage, array.is_complete, array.is_mid_element, array.joint
    return *seen, array.is_array, array.oversized


def _json(wire: bytes) -> object:
    """The value, or None: also for what ``json`` reads and others do not (UTF-16, a byte order mark)."""
    try:
        return json.loads(wire.decode())
    except (ValueError, RecursionError):
        return None


CHECKS: dict[str, Callable[[bytes, Cut], None]] = {
    "sse": sse,
    "json_members": json_members,
    "event_stream": event_stream,
    "event_stream_headers": event_stream_headers,
    "event_stream_frames": event_stream_frames,
    "json_array": json_array,
}


def cut_by(first: int, step: int) -> Cut:
    """Cuts off ``first`` bytes, and the rest into pieces of ``step``."""
    return lambda wire: [wire[:first], *(wire[at : at + step] for at in range(first, len(wire), step))]


def check(name: str, fuzzed: bytes) -> None:
    """Run one check as a fuzzer does: the first two bytes say how the rest is cut."""
    first, step = (*fuzzed[:2], 0, 0)[:2]
    CHECKS[name](fuzzed[2:], cut_by(first, 1 + step % 64))
