"""Server-sent events, parsed as WHATWG HTML section 9.2.6 says.

Two layers, because metering looks at few events: ``EventBlocks`` cuts the stream into the raw blocks between blank
lines, ``parse_block`` reads one block's fields. Lines end with LF, CR LF or CR (Gemini's streams use CR LF, a splitter
on two LFs finds nothing in them).

A block that grows beyond ``long_runs.LARGE_BYTES`` goes on without its long runs, or is dropped if it is one that
``is_needed`` refuses. One that is larger than ``max_block_bytes`` all the same is dropped and counted in
``oversized``; the next blank line ends the damage. Nothing here raises: a stream is bytes to pass on first, and events
to look at second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_trio.wire.long_runs import LARGE_BYTES, MAX_BYTES, without_long_runs

if TYPE_CHECKING:
    from collections.abc import Callable

_BOM = b"\xef\xbb\xbf"

_BEGINNING_BYTES = 256
"""What ``is_needed`` is shown of a block: the type of an event stands first."""


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event: its type (``message`` when none was given) and its data, lines joined by LF."""

    event: str
    data: str


class EventBlocks:
    """Cuts a stream into blocks: the lines of one event, ends of line normalised to LF, without the blank line."""

    def __init__(self, is_needed: Callable[[bytes], bool] | None = None, *, max_block_bytes: int = MAX_BYTES) -> None:
        """``is_needed``: called with a large block's beginning; False drops the block. None keeps all."""
        self.oversized = 0
        """How many blocks were dropped for their size."""
        self._is_needed = is_needed
        self._max_block_bytes = max_block_bytes
        self._large_bytes = min(LARGE_BYTES, max_block_bytes + 1)  # when the tail is looked at for its size
        self._tail = bytearray()
        self._searched = 0  # no blank line begins before this offset of the tail
        self._after_cr = False
        self._at_start = True
        self._is_skipping = False

    @property
    def is_mid_block(self) -> bool:
        """Whether the stream so far ends inside a block."""
        return self._is_skipping or bool(self._tail.strip(b"\n"))

    @property
    def tail_bytes(self) -> int:
        """The size of what is held of the unfinished block."""
        return len(self._tail)

    @property
    def tail(self) -> bytes:
        """The unfinished block."""
        return bytes(self._tail)

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that ``data`` completes, in order. ``data`` may be cut anywhere."""
        if self._after_cr or b"\r" in data:
            data = self._normalise(data)
        if self._at_start:
            data = self._without_bom(data)
        tail = self._tail
        tail += data
        end = tail.find(b"\n\n", self._searched)
        if end < 0:
            self._keep_tail()
            return []
        blocks: list[bytes] = []
        start = 0
        while end >= 0:
            self._complete(bytes(tail[start:end]), blocks)
            start = end + 2
            end = tail.find(b"\n\n", start)
        del tail[:start]
        self._keep_tail()
        return blocks

    def _complete(self, block: bytes, blocks: list[bytes]) -> None:
        if self._is_skipping:
            self._is_skipping = False
        elif len(block) > self._max_block_bytes:
            self.oversized += 1
        elif block := block.strip(b"\n"):
            blocks.append(block)

    def _keep_tail(self) -> None:
        if len(self._tail) > self._large_bytes:
            self._reduce_tail()
        self._searched = max(0, len(self._tail) - 1)

    def _reduce_tail(self) -> None:
        """Hold less of a large block, or nothing. It is tried again when the block has grown to twice its size."""
        tail = self._tail
        if not self._is_skipping and len(tail) > LARGE_BYTES:
            if self._is_needed is None or self._is_needed(bytes(tail[:_BEGINNING_BYTES])):
                tail[:-1] = without_long_runs(tail[:-1])  # the last byte may be the first LF of the blank line
            else:
                self._is_skipping = True
        if not self._is_skipping and len(tail) > self._max_block_bytes + 1:
            self.oversized += 1
            self._is_skipping = True
        if self._is_skipping:
            del tail[:-1]
        self._large_bytes = min(max(LARGE_BYTES, 2 * len(tail)), self._max_block_bytes + 1)

    def _normalise(self, data: bytes) -> bytes:
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            if not data:
                self._after_cr = False
                return data
        if data:
            self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, data: bytes) -> bytes:
        head = bytes(self._tail) + data
        if len(head) < len(_BOM) and _BOM.startswith(head):
            return data  # too few bytes to decide
        self._at_start = False
        if head.startswith(_BOM):
            self._tail.clear()
            return head[len(_BOM) :]
        return data


def parse_block(block: bytes) -> Event | None:
    """The event of one block, or None when it holds no data line (comments, ids, bare types: nothing is dispatched)."""
    event = ""
    data: list[str] = []
    for line in block.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif name == "event":
            event = value.removeprefix(" ")
    if not data:
        return None
    return Event(event or "message", "\n".join(data))
