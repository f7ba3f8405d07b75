"""The reader of answers that are server-sent events: it cuts them into events, and a dialect's fold adds these up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay_trio.api.answer_reader import Ending
from relay_trio.api.position import Form, Position
from relay_trio.wire.sse import EventBlocks, parse_block

if TYPE_CHECKING:
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats


_SHORT_BYTES = 4096
"""An event whose blank line is missing at the end of a stream is looked for among events up to this size."""


class SseFold(Protocol):
    """What the events of one stream add up to. A dialect brings one; it never raises.

    A block is the lines of one event, as ``wire.sse`` cuts them. ``tail`` is a block that still lacks its blank line,
    or empty; it may be observed many times while it grows, and once more as a block.
    """

    @property
    def error(self) -> UpstreamError | None:
        """The error that the upstream reported in one of the events, or None."""

    @property
    def ending(self) -> Ending:
        """Whether the events so far come to an end. It is looked at after every read."""

    def observe_block(self, block: bytes) -> None:
        """Add one event. This is called for every event of a stream: most must cost no more than a search."""

    def is_needed(self, beginning: bytes) -> bool:
        """Whether a block of more than a megabyte, of which ``beginning`` is the beginning, is to be added at all. It
        then comes without its long runs (``wire.long_runs``)."""

    def observe_tail(self, tail: bytes) -> None:
        """Add what the unfinished event says already."""

    def spoil(self) -> None:
        """An event was too large to be held (32 MB) and cannot be read: what it held is unknown."""

    def is_complete_with(self, tail: bytes) -> bool:
        """Whether a stream that ends with ``tail`` is complete."""

    def stats(self) -> UsageStats:
        """The usage so far."""


class SseReader:
    """Reads a stream of server-sent events, and alters nothing."""

    is_error_forwarded = True

    def __init__(self, fold: SseFold) -> None:
        self._blocks = EventBlocks(fold.is_needed)
        self._fold = fold
        self._observe = self._observe_first
        self._oversized = 0
        self.has_substance = False

    @property
    def error(self) -> UpstreamError | None:
        """The error that an event reports, which need not have its blank line."""
        self._fold.observe_tail(self._tail)
        return self._fold.error

    @property
    def has_begun(self) -> bool:
        """Whether an event other than a ping was read, or the beginning of one."""
        return self.has_substance or self._blocks.is_mid_block

    @property
    def ending(self) -> Ending:
        """What the fold says; due while nothing but the blank line of the last event is missing."""
        ending = self._fold.ending
        if ending is Ending.OPEN and 0 < self._blocks.tail_bytes <= _SHORT_BYTES:
            tail = self._blocks.tail
            if tail.endswith((b"}", b"}\n")) and self._fold.is_complete_with(tail):
                return Ending.DUE
        return ending

    @property
    def is_complete(self) -> bool:
        """Whether the fold has seen the last event, or an error."""
        return self._fold.is_complete_with(self._tail)

    @property
    def position(self) -> Position:
        """Between two events, or inside one."""
        return Position(Form.EVENTS, self._blocks.is_mid_block)

    @property
    def _tail(self) -> bytes:
        return self._blocks.tail if self._blocks.is_mid_block else b""

    def feed(self, data: bytes) -> bytes:
        """``data`` as it came."""
        blocks = self._blocks
        for block in blocks.feed(data):
            self._observe(block)
        if blocks.oversized != self._oversized:  # it counts while the event grows, so after the events before it
            self._oversized = blocks.oversized
            self.has_substance = True
            self._fold.spoil()
        return data

    def _observe_first(self, block: bytes) -> None:
        """Observe a block while there was no event of substance yet."""
        self._fold.observe_block(block)
        event = parse_block(block)
        if event is not None and event.event != "ping" and self._fold.error is None:
            self.has_substance = True
            self._observe = self._fold.observe_block

    def finish(self) -> UsageStats:
        """The usage in the events so far, and in the unfinished one."""
        self._fold.observe_tail(self._tail)
        return self._fold.stats()
