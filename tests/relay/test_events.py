"""Events reach every observer, and an observer that fails hurts nobody else."""

from __future__ import annotations

from relay_trio.ledger.row import LedgerRow
from relay_trio.pool.health import AccountChange, Change
from relay_trio.relay.events import Events, Observer

ROW = LedgerRow("req_1", "k_01", 1.0, "messages")
CHANGE = AccountChange("a", Change.COOLED_DOWN, "the upstream answered 429", 5.0)


class Watching(Observer):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def request_settled(self, row: LedgerRow) -> None:
        self.seen.append(row)

    def account_changed(self, change: AccountChange) -> None:
        self.seen.append(change)


class Failing(Observer):
    def request_settled(self, row: LedgerRow) -> None:
        raise ZeroDivisionError

    def account_changed(self, change: AccountChange) -> None:
        raise ZeroDivisionError


class Indifferent(Observer):
    pass


def tell_all(events: Events) -> list[object]:
    events.request_settled(ROW)
    events.account_changed(CHANGE)
    return [ROW, CHANGE]


def test_every_observer_hears_of_every_event() -> None:
    first, second = Watching(), Watching()
    happened = tell_all(Events([first, Indifferent(), second]))
    assert first.seen == second.seen == happened


def test_an_observer_that_fails_is_reported_and_the_next_one_is_called_all_the_same() -> None:
    last = Watching()
    reported: list[Exception] = []
    happened = tell_all(Events([Failing(), last], reported.append))
    assert last.seen == happened
    assert [type(error) for error in reported] == [ZeroDivisionError] * len(happened)


def test_an_observer_that_comes_later_hears_of_what_comes_later() -> None:
    events, late = Events(), Watching()
    events.request_settled(ROW)
    events.observers.append(late)
    events.account_changed(CHANGE)
    assert late.seen == [CHANGE]
