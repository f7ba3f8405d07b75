"""Every request that is open: the one place that opens and closes ledger rows."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Protocol

import trio

from relay_trio.errors import LedgerUnavailable, RelayError, ShuttingDown
from relay_trio.relay.events import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.ledger.row import LedgerRow
    from relay_trio.ledger.writer import Ledger, LedgerStatistics
    from relay_trio.outcome import Phase
    from relay_trio.pool.account import Account
    from relay_trio.relay.channel import ResponseChannel
    from relay_trio.relay.deadline import RequestClock
    from relay_trio.relay.events import Events


class LiveRequest(Protocol):
    """What can be seen of a request that is open: its ``RequestRecord``."""

    row: LedgerRow
    phase: Phase
    clock: RequestClock
    response: ResponseChannel
    attempt_account: Account | None


class LiveRequests:
    """Every request that is open: the one place that opens and closes ledger rows."""

    def __init__(self, ledger: Ledger, events: Events) -> None:
        self.is_stopping = False
        self._ledger = ledger
        self._events = events
        self._open: dict[str, LiveRequest] = {}
        self._idle = trio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[LiveRequest]:
        return iter(tuple(self._open.values()))

    def ledger_statistics(self) -> LedgerStatistics:
        """The ledger's own counts."""
        return self._ledger.statistics()

    def open(self, request: LiveRequest) -> None:
        """Open the row, or report the request as rejected.

        Raises:
            LedgerUnavailable: the ledger takes no rows now.
            ShuttingDown: the relay takes no new work.
        """
        try:
            if self.is_stopping:
                raise ShuttingDown("the relay is shutting down; try again", retry_after=1)
            self._ledger.open_row(request.row)
        except (ShuttingDown, LedgerUnavailable) as error:
            self._events.request_rejected(Rejection(error.kind.value, request.row.request_id))
            raise
        self._open[request.row.request_id] = request
        if self._idle.is_set():
            self._idle = trio.Event()

    def close(self, request: LiveRequest) -> None:
        """Close the row."""
        del self._open[request.row.request_id]
        self._ledger.close_row(request.row)
        self._events.request_settled(request.row)
        if not self._open:
            self._idle.set()

    def book_batch(self, batch_id: str) -> bool:
        """Whether the batch is to be booked now, for the first time."""
        return self._ledger.book_batch(batch_id)

    def by_phase(self) -> dict[str, int]:
        """Live requests by phase."""
        return dict(Counter(request.phase.name.lower() for request in self._open.values()))

    def attempts(self) -> dict[str, int]:
        """Live upstream attempts by account."""
        accounts = (request.attempt_account for request in self._open.values())
        return dict(Counter(account.name for account in accounts if account is not None))

    def held_bytes(self) -> tuple[int, int]:
        """Bytes inside all response channels together, and inside the fullest one."""
        held = [request.response.held_bytes for request in self._open.values()]
        return sum(held), max(held, default=0)

    def stop(self) -> None:
        """Take no new work."""
        self.is_stopping = True

    def end_all(self, error: RelayError) -> None:
        """End every open request with ``error``: its client gets it in its own dialect, and the row is closed."""
        for request in self:
            request.clock.end_with(error)

    async def wait_idle(self, seconds: float = math.inf) -> bool:
        """Wait until no request is open, at most ``seconds``; returns whether that was reached.

        Cancelled here: atomic.
        """
        with trio.move_on_after(seconds):
            await self._idle.wait()
        return not self._open
