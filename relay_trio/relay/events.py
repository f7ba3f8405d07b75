"""What happens in a relay, for everybody who watches: the log, and whatever else counts, shows or alerts.

::

    record ─ settled, rejected ─┐
    attempt ─ ended, health ────┼─► Events ─► each observer, one after the other
    web, server ─ rejected ─────┘

An observer is called in the middle of a request, synchronously, so it must not block. An observer that raises hurts
neither that request nor the observers after it: ``Events`` is the one place where this is caught, counted, and reported
as a defect of the relay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_trio.ledger.prices import CostNote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay_trio.ledger.row import AttemptRecord, LedgerRow
    from relay_trio.pool.health import AccountChange


_UNPRICED_MODELS = 100

BAD_HEAD = "bad_head"
"""The kind of a rejection whose head could not be read, so that no dialect and no request id is known."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that was answered with an error before it had a row. Nothing of what it sent is kept.

    ``kind``: the value of an ``ErrorKind``, or ``BAD_HEAD``. ``request_id``: what the client was given to quote; empty
    where the head could not be read. ``reason``: what is wrong with such a head, one of the server's fixed texts.
    """

    kind: str
    request_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """Since the start. ``rejected``: requests without a row, by kind. ``observer_failures``: errors that observers
    raised. ``unpriced``: requests that used tokens of models without a price, by model; those of the models after the
    first hundred stand together under an empty name, because clients name the models."""

    rejected: dict[str, int]
    observer_failures: int
    unpriced: dict[str, int]


class Observer:
    """Whoever watches. A subclass defines what it needs; the rest does nothing."""

    def request_settled(self, row: LedgerRow) -> None:
        """A request has ended, and its row was closed. Nothing changes it any more."""

    def attempt_ended(self, request_id: str, attempt: AttemptRecord) -> None:
        """An attempt at an account has ended, well or not; its request may go on with another."""

    def request_rejected(self, rejection: Rejection) -> None:
        """A request was answered with an error, and has no row."""

    def account_changed(self, change: AccountChange) -> None:
        """An account left the rotation, or is back."""


def _is_ignored(error: Exception) -> None:
    """For relays of which nobody reads the log."""


class Events:
    """Passes each event to all observers. ``on_error`` is given what an observer raises; it must not raise itself."""

    def __init__(self, observers: Iterable[Observer] = (), on_error: Callable[[Exception], None] = _is_ignored) -> None:
        self.observers = list(observers)
        self._on_error = on_error
        self._rejected: Counter[str] = Counter()
        self._failures = 0
        self._unpriced: Counter[str] = Counter()

    def request_settled(self, row: LedgerRow) -> None:
        if row.cost_note == CostNote.UNKNOWN_MODEL:
            is_counted = row.model in self._unpriced or len(self._unpriced) < _UNPRICED_MODELS
            self._unpriced[row.model if is_counted else ""] += 1
        for observer in self.observers:
            try:
                observer.request_settled(row)
            except Exception as error:  # reported; the request goes on
                self._failed(error)

    def attempt_ended(self, request_id: str, attempt: AttemptRecord) -> None:
        for observer in self.observers:
            try:
                observer.attempt_ended(request_id, attempt)
            except Exception as error:  # reported; the request goes on
                self._failed(error)

    def request_rejected(self, rejection: Rejection) -> None:
        self._rejected[rejection.kind] += 1
        for observer in self.observers:
            try:
                observer.request_rejected(rejection)
            except Exception as error:  # reported; the request gets its answer
                self._failed(error)

    def account_changed(self, change: AccountChange) -> None:
        for observer in self.observers:
            try:
                observer.account_changed(change)
            except Exception as error:  # reported; the request goes on
                self._failed(error)

    def statistics(self) -> EventStatistics:
        return EventStatistics(dict(self._rejected), self._failures, dict(self._unpriced))

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._on_error(error)
