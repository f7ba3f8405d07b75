"""The reader of server-sent events: what it gives to a dialect's fold, and what it asks of it."""

from __future__ import annotations

import pytest

from relay_trio.api.position import Form, Position
from relay_trio.api.sse_reader import SseReader
from relay_trio.errors import UpstreamError, UpstreamErrorEvent
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from tests.support.cuts import cuts

STREAM = b"data: one\n\nevent: two\r\ndata: 2\r\n\r\ndata: end\n\n"
BLOCKS = [b"data: one", b"event: two\ndata: 2", b"data: end"]


class Notes:
    """A fold that writes down what it is given."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.tails: list[bytes] = []
        self.spoiled = 0
        self.error: UpstreamError | None = None

    def observe_block(self, block: bytes) -> None:
        self.blocks.append(block)

    @staticmethod
    def is_needed(beginning: bytes) -> bool:
        return not beginning.startswith(b"data: unneeded")

    def observe_tail(self, tail: bytes) -> None:
        self.tails.append(tail)
        if tail == b"error":
            self.error = UpstreamErrorEvent("broken")

    def spoil(self) -> None:
        self.spoiled += 1

    def is_complete_with(self, tail: bytes) -> bool:
        return self.blocks[-1:] == [b"data: end"] and not tail

    def stats(self) -> UsageStats:
        return NO_USAGE if self.spoiled else UsageStats(len(self.blocks), source=UsageSource.EXACT)


def test_cut_anywhere_a_stream_gives_the_same_events_and_goes_on_as_it_came() -> None:
    for pieces in cuts(STREAM):
        notes = Notes()
        reader = SseReader(notes)
        assert [reader.feed(piece) for piece in pieces] == pieces
        assert notes.blocks == BLOCKS
        assert reader.is_complete
        assert reader.finish().input_tokens == 3


def test_a_position_is_inside_an_event_until_its_blank_line() -> None:
    reader = SseReader(Notes())
    assert reader.position == Position(Form.EVENTS)
    reader.feed(b"data: o")
    assert reader.position == Position(Form.EVENTS, is_mid_event=True)
    reader.feed(b"ne\n")
    assert reader.position.is_mid_event
    reader.feed(b"\n\n")
    assert reader.position == Position(Form.EVENTS)


def test_an_unfinished_event_is_shown_to_the_fold_at_the_end() -> None:
    notes = Notes()
    reader = SseReader(notes)
    reader.feed(STREAM + b"data: unf")
    assert not reader.is_complete
    reader.finish()
    assert notes.tails == [b"data: unf"]
    assert notes.blocks == BLOCKS


def test_an_error_may_lack_its_blank_line() -> None:
    reader = SseReader(Notes())
    reader.feed(b"error")
    assert isinstance(reader.error, UpstreamErrorEvent)


def test_line_ends_after_the_last_event_are_no_unfinished_event() -> None:
    notes = Notes()
    reader = SseReader(notes)
    reader.feed(STREAM + b"\n")
    assert reader.is_complete
    reader.finish()
    assert notes.tails == [b""]


@pytest.mark.e2e
def test_an_event_too_large_to_read_spoils_the_fold_once_while_it_grows() -> None:
    notes = Notes()
    reader = SseReader(notes)
    for _ in range(36):
        reader.feed(b"data: large words" * 60_000)
    assert notes.spoiled == 1
    reader.feed(b"\n\n" + STREAM)
    assert (notes.spoiled, notes.blocks) == (1, BLOCKS)


def test_a_large_event_that_the_fold_does_not_need_is_passed_over() -> None:
    notes = Notes()
    reader = SseReader(notes)
    for _ in range(36):
        reader.feed(b"data: unneeded words" * 60_000)
    reader.feed(b"\n\n" + STREAM)
    assert (notes.spoiled, notes.blocks) == (0, BLOCKS)
