"""What happens in a relay, for everybody who watches: the log, and whatever else counts, shows or alerts.

::

    record ─ settled, rejected ─┐
    attempt ─ ended, health ────┼─► Events ─► each observer in turn, synchronously
    web, server ─ rejected ─────┘

An observer is called between two scheduler steps of the request that it hears of, so it must not block. One that raises
hurts neither that request nor the observers after it: ``Events`` is the one place where this is caught, and reports it
as a defect of the relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay_trio.ledger.row import LedgerRow
    from relay_trio.pool.health import AccountChange


class Observer:
    """Whoever watches. A subclass defines what it needs; the rest does nothing."""

    def request_settled(self, row: LedgerRow) -> None:
        """A request has ended, and its row was closed. Nothing changes it any more."""

    def account_changed(self, change: AccountChange) -> None:
        """An account left the rotation, or is back."""


def _is_ignored(error: Exception) -> None:
    """For relays of which nobody reads the log."""


class Events:
    """Passes each event to all observers. ``on_error`` is given what an observer raises; it must not raise itself."""

    def __init__(self, observers: Iterable[Observer] = (), on_error: Callable[[Exception], None] = _is_ignored) -> None:
        self.observers = list(observers)
        self._on_error = on_error

    def request_settled(self, row: LedgerRow) -> None:
        for observer in self.observers:
            try:
                observer.request_settled(row)
            except Exception as error:  # reported; the request goes on
                self._on_error(error)

    def account_changed(self, change: AccountChange) -> None:
        for observer in self.observers:
            try:
                observer.account_changed(change)
            except Exception as error:  # reported; the request goes on
                self._on_error(error)
