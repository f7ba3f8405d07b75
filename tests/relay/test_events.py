"""Events reach every observer, and an observer that fails hurts nobody else."""

from __future__ import annotations

from relay_trio.ledger.row import AttemptRecord, LedgerRow
from relay_trio.outcome import Phase, Word
from relay_trio.pool.health import AccountChange, Change
from relay_trio.relay.events import Events, EventStatistics, Observer, Rejection

ROW = LedgerRow("req_1", "k_01", 1.0, "messages")
ATTEMPT = AttemptRecord("a", Phase.HEAD, Word.UPSTREAM_ERROR, 500, 7.5)
REJECTION = Rejection("authentication", "req_2")
CHANGE = AccountChange("a", Change.COOLED_DOWN, "the upstream answered 429", 5.0)


class Watching(Observer):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def request_settled(self, row: LedgerRow) -> None:
        self.seen.append(row)

    def attempt_ended(self, request_id: str, attempt: AttemptRecord) -> None:
        self.seen.append((request_id, attempt))

    def request_rejected(self, rejection: Rejection) -> None:
        self.seen.append(rejection)

    def account_changed(self, change: AccountChange) -> None:
        self.seen.append(change)


class Failing(Observer):
    def request_settled(self, row: LedgerRow) -> None:
        raise ZeroDivisionError

    def attempt_ended(self, request_id: str, attempt: AttemptRecord) -> None:
        raise ZeroDivisionError

    def request_rejected(self, rejection: Rejection) -> None:
        raise ZeroDivisionError

    def account_changed(self, change: AccountChange) -> None:
        raise ZeroDivisionError


class Indifferent(Observer):
    pass


def tell_all(events: Events) -> list[object]:
    events.request_settled(ROW)
    events.attempt_ended("req_1", ATTEMPT)
    events.request_rejected(REJECTION)
    events.account_changed(CHANGE)
    return [ROW, ("req_1", ATTEMPT), REJECTION, CHANGE]


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


def test_rejections_are_counted_by_kind_and_failures_of_observers_too() -> None:
    events = Events([Failing()])
    for kind in ("authentication", "not_found", "authentication"):
        events.request_rejected(Rejection(kind))
    assert events.statistics() == EventStatistics(
        {"authentication": 2, "not_found": 1}, observer_failures=3, unpriced={}
    )


def test_models_without_a_price_are_counted_and_not_without_bound() -> None:
    """Clients name the models."""
    events = Events()
    for number in range(150):
        for _ in range(2):
            events.request_settled(LedgerRow("r", "k", 1.0, "m", model=f"m{number}", cost_note="unknown_model"))
    events.request_settled(LedgerRow("r", "k", 1.0, "m", model="known", cost_note="web_search"))
    unpriced = events.statistics().unpriced
    assert (unpriced["m0"], unpriced["m99"], unpriced[""], len(unpriced)) == (2, 2, 100, 101)
