"""Chunks as bytes: events and elements, each readable as soon as it is there."""

from __future__ import annotations

import json

import pytest

from relay_trio.simulator import SpecError, Usage
from relay_trio.simulator.script import frame
from relay_trio.simulator.vendors.gemini.events import Chunk
from relay_trio.simulator.vendors.gemini.forms import MALFORMED, MALFORMED_ELEMENTS, Array, Events
from relay_trio.wire.sse import EventBlocks, parse_block

CHUNKS = [
    Chunk('{"n": 1}', 2, Usage(1), is_paced=True, is_last=False),
    Chunk('{"n": 2}', 3, None, is_paced=True, is_last=False),
    Chunk('{"n": 3}', 0, Usage(1, 5), is_paced=False, is_last=True),
]


def test_events_end_with_two_cr_lf_and_nothing_comes_after_the_last() -> None:
    frames = list(Events().frames(CHUNKS))
    assert [piece.content for piece in frames] == [b'data: {"n": %d}\r\n\r\n' % n for n in (1, 2, 3)]
    assert [piece.is_last for piece in frames] == [False, False, True]
    assert [piece.usage for piece in frames] == [Usage(1), None, Usage(1, 5)]
    assert [(piece.tokens, piece.is_paced) for piece in frames] == [(2, True), (3, True), (0, False)]


def test_an_event_is_read_before_the_last_lf_and_so_is_its_usage() -> None:
    piece = next(Events().frames(CHUNKS))
    assert EventBlocks().feed(piece.content[: piece.known_after_bytes])
    assert not EventBlocks().feed(piece.content[: piece.known_after_bytes - 1])


def test_an_element_is_whole_when_its_frame_is_and_the_bracket_ends_the_array() -> None:
    frames = list(Array().frames(CHUNKS))
    body = b"".join(piece.content for piece in frames)
    assert json.loads(body) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert body.startswith(b'[{\n  "n": 1\n}\n,\r\n{')
    assert {piece.content[-1:] for piece in frames[:-1]} == {b"}"}
    assert [piece.is_last for piece in frames] == [False, False, False, True]
    assert [piece.usage for piece in frames] == [Usage(1), None, Usage(1, 5), None]


def test_an_error_in_mid_stream_is_bare_lines_or_the_last_element() -> None:
    raw = Events().error_event("CANCELLED").content
    assert raw.startswith(b'{\n  "error": {\n    "code": 499,')
    assert b"data:" not in raw
    array = Array()
    first = next(array.frames(CHUNKS)).content
    assert json.loads(first + array.error_event("INTERNAL").content)[1]["error"]["status"] == "INTERNAL"
    assert json.loads(array.error_body({"error": {}})) == [{"error": {}}]
    assert json.loads(Events().error_body({"error": {}})) == {"error": {}}


def test_a_huge_event_is_a_valid_chunk() -> None:
    (block,) = EventBlocks().feed(Events().huge_event(2_000_000).content)
    event = parse_block(block)
    assert event is not None
    assert len(json.loads(event.data)["candidates"][0]["content"]["parts"][0]["text"]) == 2_000_000
    array = Array()
    one, *_, end = array.frames(CHUNKS[:1])
    assert len(json.loads(one.content + array.huge_event(1000).content + end.content)) == 2


@pytest.mark.parametrize(("form", "kinds"), [(Events(), MALFORMED), (Array(), MALFORMED_ELEMENTS)])
def test_each_kind_of_breakage_can_be_had_alone_or_with_all_others(
    form: Events | Array, kinds: dict[str, bytes]
) -> None:
    assert [form.malformed(kind) for kind in kinds] == [frame(content) for content in kinds.values()]
    assert form.malformed("").content == b"".join(kinds.values())
    with pytest.raises(SpecError, match="malformed:nonsense"):
        form.malformed("nonsense")


@pytest.mark.parametrize("kind", ["scalar", "null", "nested", "braces"])
def test_odd_elements_are_legal_json(kind: str) -> None:
    assert len(json.loads(b"[1" + MALFORMED_ELEMENTS[kind] + b"]")) == 2
