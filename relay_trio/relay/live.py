"""Every request that is open: the one place that opens and closes ledger rows."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import LedgerUnavailable, RelayError, ShuttingDown
from relay_trio.relay.events import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.ledger.writer import Ledger
    from relay_trio.relay.events import Events
    from relay_trio.relay.record import RequestRecord


class LiveRequests:
    """Every exchange that is open: the one place that opens and closes ledger rows."""

    def __init__(self, ledger: Ledger, events: Events) -> None:
        self.is_stopping = False
        self._ledger = ledger
        self._events = events
        self._open: dict[str, RequestRecord] = {}
        self._idle = trio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(tuple(self._open.values()))

    @property
    def open_rows(self) -> int:
        """Rows that the ledger has open."""
        return self._ledger.open_rows

    @property
    def ledger_is_accepting(self) -> bool:
        """Whether another row would be taken."""
        return self._ledger.statistics().is_accepting

    def open(self, exchange: RequestRecord) -> None:
        """Open the row, or report the request as rejected.

        Raises:
            LedgerUnavailable: the ledger takes no rows now.
            ShuttingDown: the relay takes no new work.
        """
        try:
            if self.is_stopping:
                raise ShuttingDown("the relay is shutting down; try again", retry_after=1)
            self._ledger.open_row(exchange.row)
        except (ShuttingDown, LedgerUnavailable) as error:
            self._events.request_rejected(Rejection(error.kind.value, exchange.row.request_id))
            raise
        self._open[exchange.row.request_id] = exchange
        if self._idle.is_set():
            self._idle = trio.Event()

    def close(self, exchange: RequestRecord) -> None:
        """Close the row."""
        del self._open[exchange.row.request_id]
        self._ledger.close_row(exchange.row)
        self._events.request_settled(exchange.row)
        if not self._open:
            self._idle.set()

    def by_phase(self) -> dict[str, int]:
        """Live requests by phase."""
        return dict(Counter(exchange.phase.name.lower() for exchange in self._open.values()))

    def attempts(self) -> dict[str, int]:
        """Live upstream attempts by account."""
        accounts = (exchange.attempt_account for exchange in self._open.values())
        return dict(Counter(account.name for account in accounts if account is not None))

    def held_bytes(self) -> tuple[int, int]:
        """Bytes inside all handovers together, and inside the fullest one."""
        held = [exchange.handover.held_bytes for exchange in self._open.values()]
        return sum(held), max(held, default=0)

    def stop(self) -> None:
        """Take no new work."""
        self.is_stopping = True

    def end_all(self, error: RelayError) -> None:
        """End every open request with ``error``: told to its client in its own dialect, then settled."""
        for exchange in self:
            exchange.clock.end_with(error)

    async def wait_idle(self, seconds: float = math.inf) -> bool:
        """Wait until no request is open, at most ``seconds``; tell whether that was reached.

        Cancelled here: atomic.
        """
        with trio.move_on_after(seconds):
            await self._idle.wait()
        return not self._open
