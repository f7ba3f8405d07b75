"""Server-sent events: WHATWG's own vectors, any cut, and bounds."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.wire.sse import Event, EventBlocks, parse_block
from tests.support.cuts import cuts
from tests.support.sse import sse_events

if TYPE_CHECKING:
    from pathlib import Path


def test_every_vector_of_the_web_platform_tests_gives_its_events_at_any_cut(corpus: Path) -> None:
    vectors = json.loads((corpus / "sse-wpt.json").read_text())
    assert len(vectors) == 18
    for vector in vectors:
        wire = base64.b64decode(vector["wire_b64"])
        expected = [Event(event["event"], event["data"]) for event in vector["events"]]
        for pieces in cuts(wire):
            assert sse_events(*pieces) == expected, vector["name"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_each_end_of_line_gives_the_same_events(newline: bytes) -> None:
    wire = newline.join([b"event: a", b"data: 1", b"data: 2", b"", b": comment", b"data: 3", b"", b""])
    for pieces in cuts(wire):
        assert sse_events(*pieces) == [Event("a", "1\n2"), Event("message", "3")]


@given(st.lists(st.sampled_from([b"data: x", b"event: e", b"", b":c", b"id: 1", b"data", b"\xff", b"data:\xf0\x9f"])))
def test_any_cut_of_any_lines_gives_the_same_events(lines: list[bytes]) -> None:
    for newline in (b"\n", b"\r\n", b"\r"):
        wire = b"".join(line + newline for line in lines)
        whole = sse_events(wire)
        for pieces in cuts(wire, drawn=3):
            assert sse_events(*pieces) == whole


@given(st.binary(max_size=200))
def test_garbage_never_raises_and_is_split_invariant(wire: bytes) -> None:
    whole = sse_events(wire, max_block_bytes=20)
    for pieces in cuts(wire, drawn=3):
        assert sse_events(*pieces, max_block_bytes=20) == whole


def test_an_oversized_block_is_dropped_and_counted_and_the_next_one_is_read() -> None:
    wire = b"data: " + b"x" * 50 + b"\n\n" + b"data: small\n\n"
    for pieces in cuts(wire):
        blocks = EventBlocks(max_block_bytes=20)
        found = [parse_block(block) for piece in pieces for block in blocks.feed(piece)]
        assert found == [Event("message", "small")]
        assert blocks.oversized == 1


def test_a_line_without_an_end_holds_no_more_than_the_limit() -> None:
    blocks = EventBlocks(max_block_bytes=1000)
    for _ in range(1000):
        blocks.feed(b"x" * 1000)
    assert len(blocks.tail) <= 1001
    assert blocks.oversized == 1


def in_pieces(wire: bytes) -> list[bytes]:
    return [wire[at : at + 65_536] for at in range(0, len(wire), 65_536)]


def test_a_block_with_an_image_is_held_without_it_and_what_stands_behind_it_is_read() -> None:
    wire = b'data: {"image": "' + b"QUJD" * 10_000_000 + b'", "count": 12}\r\n\r\ndata: next\r\n\r\n'
    pieces = in_pieces(wire)
    blocks = EventBlocks()
    tracemalloc.start()
    try:
        found = [block for piece in pieces for block in blocks.feed(piece)]
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    image, following = found
    assert json.loads(image[6:])["count"] == 12
    assert following == b"data: next"
    assert blocks.oversized == 0


@pytest.mark.e2e
def test_a_large_block_of_words_is_held_as_it_is_up_to_the_limit() -> None:
    words = b'data: {"text": "' + b"some words " * 1_000_000 + b'", "count": 12}'
    blocks = EventBlocks()
    assert [block for piece in in_pieces(words + b"\n\n") for block in blocks.feed(piece)] == [words]
    for piece in in_pieces(b"data: " + b"some words " * 3_500_000):
        assert not blocks.feed(piece)
    assert blocks.oversized == 1
    assert blocks.is_mid_block
    assert len(blocks.tail) < 2_000_000
    assert blocks.feed(b"\n\ndata: next\n\n") == [b"data: next"]


def test_a_large_block_that_nobody_needs_is_neither_held_nor_counted() -> None:
    blocks = EventBlocks(lambda beginning: not beginning.startswith(b"event: content"))
    wire = b"event: content\ndata: " + b"some words " * 1_000_000
    for piece in in_pieces(wire):
        assert not blocks.feed(piece)
    assert len(blocks.tail) < 1_200_000
    assert blocks.is_mid_block
    assert blocks.feed(b"\n\ndata: next\n\n") == [b"data: next"]
    assert blocks.oversized == 0


@pytest.mark.parametrize(
    ("wire", "is_mid_block"),
    [(b"", False), (b"data: a\n\n", False), (b"data: a\n", True), (b"da", True), (b"data: a\n\n\n", False)],
)
def test_whether_the_stream_ends_inside_an_event_is_known(wire: bytes, is_mid_block: bool) -> None:
    blocks = EventBlocks()
    blocks.feed(wire)
    assert blocks.is_mid_block is is_mid_block
