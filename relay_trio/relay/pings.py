"""Pings to a client whose upstream is silent and has none of its own.

Clients give a silent stream up after a time, and Bedrock's streams have no event without a meaning. So a translated
stream gets one in each long gap, for as long as its attempt lives: the attempt's own limit on silence runs on, and when
it ends the attempt the pings end with it. A dead upstream is never kept alive by them.

::

    request nursery
    ├─ pump ─ Attempt ─ with Pings(…):   reads the upstream, and counts its chunks in the row
    └─ pings                             wakes up a few times a minute, and looks whether that count has grown
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from types import TracebackType

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.relay.channel import ChunkSender

GAP_SECONDS = 15.0
"""The silence after which a ping is sent, at most ``_TICK_SECONDS`` late."""

_TICK_SECONDS = 5.0


class Pings:
    """``with pings:`` sends ``ping`` in the gaps of the block. Empty: none, and no task is started."""

    def __init__(
        self, ping: bytes, nursery: trio.Nursery | None, reader: AnswerReader, sender: ChunkSender, row: LedgerRow
    ) -> None:
        self._ping = ping
        self._nursery = nursery
        self._reader = reader
        self._sender = sender
        self._row = row
        self._scope = trio.CancelScope()

    def __enter__(self) -> None:
        if self._ping:
            assert self._nursery is not None  # web/asgi.py sets it before a request is relayed
            self._nursery.start_soon(self._run, name=f"pings {self._row.request_id}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.cancel()

    async def _run(self) -> None:
        """Cancelled here: atomic, no ping is sent by half."""
        chunks, quiet_seconds = self._row.chunks, 0.0
        with self._scope:
            while True:
                await trio.sleep(_TICK_SECONDS)
                if self._scope.cancel_called:
                    return  # it woke up in the same moment in which the block ended
                quiet_seconds = quiet_seconds + _TICK_SECONDS if self._row.chunks == chunks else 0.0
                chunks = self._row.chunks
                if quiet_seconds >= GAP_SECONDS:
                    quiet_seconds = 0.0
                    self._send()

    def _send(self) -> None:
        """Send a ping, unless the stream has ended but for its last bytes, or its client does not read."""
        reader, sender = self._reader, self._sender
        if reader.error is not None or reader.is_complete or not sender.has_room:
            return
        with suppress(trio.BrokenResourceError):  # the body is gone, which the pump finds out by itself
            sender.write(self._ping)
