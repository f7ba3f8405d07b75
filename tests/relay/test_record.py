"""One request's state: opened once, settled once, with the outcome that its end deserves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from relay_trio.api.position import WHOLE, Position
from relay_trio.errors import (
    LedgerUnavailable,
    NotFound,
    RelayError,
    ShuttingDown,
    UpstreamClosed,
    UpstreamIdle,
)
from relay_trio.ledger.row import LedgerRow
from relay_trio.outcome import COMPLETED, DisconnectReason, Outcome, Phase, ended_by_client
from relay_trio.relay.channel import ResponseChannel
from relay_trio.relay.events import Events, Observer, Rejection
from relay_trio.relay.live import LiveRequests
from relay_trio.relay.record import RequestRecord
from relay_trio.usage import NO_USAGE, UsageDetails, UsagePart, UsageSource, UsageStats
from relay_trio.vendors.registry import provider_named
from tests.pool.pools import make_account, make_pool
from tests.support.client_requests import make_request, never_now
from tests.support.memory_harness import MemoryLedger

if TYPE_CHECKING:
    from trio.testing import MockClock

    from relay_trio.pool.admission import Lease


class FullLedger(MemoryLedger):
    def open_row(self, row: LedgerRow) -> None:
        raise LedgerUnavailable("the ledger is full")


@dataclass
class Seen:
    """What a meter reports."""

    stats: UsageStats
    is_complete: bool = True
    error: None = None
    position: Position = WHOLE
    is_error_forwarded: bool = True

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> UsageStats:
        return self.stats


class Office(Observer):
    """A ledger and its live exchanges, and what was reported as settled."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self.ledger = ledger or MemoryLedger()
        self.settled: list[LedgerRow] = []
        self.rejected: list[Rejection] = []
        self.live = LiveRequests(self.ledger, Events([self]))  # type: ignore[arg-type]

    def request_settled(self, row: LedgerRow) -> None:
        self.settled.append(row)

    def request_rejected(self, rejection: Rejection) -> None:
        self.rejected.append(rejection)

    def record(
        self,
        request_id: str = "req_1",
        *,
        left: bool = False,
        timed_out: bool = False,
        lost_by: DisconnectReason | None = None,
    ) -> RequestRecord:
        request = make_request()
        if left:
            lost_by = DisconnectReason.STALLED if timed_out else DisconnectReason.LEFT
        if lost_by is not None:
            request.stream.lose(lost_by)
        return RequestRecord(
            LedgerRow(request_id, "k_01", 0.0, "messages"), request, ResponseChannel(never_now), self.live
        )

    def lease(self) -> Lease:
        admission, _ = make_pool(make_account("a"))
        lease = admission.acquire_nowait(admission.new_request("m"))
        assert lease is not None
        return lease


def outcome(record: RequestRecord) -> Outcome:
    assert record.row.outcome is not None
    return record.row.outcome


# --- settlement ---------------------------------------------------------------------------------------------------


async def test_a_row_is_open_inside_and_closed_outside() -> None:
    office = Office()
    record = office.record()
    with record:
        assert (office.ledger.open_rows, office.live.ledger_statistics().open_rows, len(office.live)) == (1, 1, 1)
        assert not office.settled
        record.ended(COMPLETED)
    assert (office.ledger.open_rows, len(office.live)) == (0, 0)
    assert office.settled == [record.row]
    assert outcome(record) is COMPLETED


async def test_times_are_milliseconds_from_the_trio_clock(autojump_clock: MockClock) -> None:
    office = Office()
    with office.record() as record:
        await trio.sleep(2)
        record.first_byte()
        await trio.sleep(3)
        record.end_is_seen()
        await trio.sleep(0.25)
        record.upstream_closed()
        record.end_is_seen()  # an earlier moment is known
        await trio.sleep(0.25)
        with record.holding(office.lease()):
            pass
        record.ended(COMPLETED)
    row = record.row
    assert [row.ttft_ms, row.upstream_close_ms, row.release_ms, row.duration_ms] == pytest.approx(
        [2000, 250, 500, 5500]
    )


async def test_release_is_measured_from_the_disconnect_when_the_client_left(autojump_clock: MockClock) -> None:
    """Not from when the pump heard of it: that way is what is measured."""
    office = Office()
    record = office.record(left=True)
    await trio.sleep(1)
    with record:
        record.end_is_seen()
        record.upstream_closed()
        with record.holding(office.lease()):
            pass
        record.ended(COMPLETED)
    assert (record.row.release_ms, record.row.upstream_close_ms) == pytest.approx((1000, 1000))


async def test_an_attempt_whose_end_nobody_announced_took_no_time_to_release(autojump_clock: MockClock) -> None:
    office = Office()
    with office.record() as record:
        await trio.sleep(1)
        with record.holding(office.lease()):
            pass
        record.ended(COMPLETED)
    assert record.row.release_ms == 0


async def test_the_account_of_an_attempt_is_known_exactly_while_its_slot_is_held(autojump_clock: MockClock) -> None:
    office = Office()
    lease = office.lease()
    with office.record() as record:
        with pytest.raises(ZeroDivisionError), record.holding(lease) as account:
            assert account is lease.account is record.attempt_account
            assert office.live.attempts() == {"a": 1}
            raise ZeroDivisionError
        assert record.attempt_account is None
        record.ended(COMPLETED)
    assert record.row.release_ms == 0


async def test_the_usage_is_what_the_meter_saw_however_it_ended() -> None:
    office, seen = Office(), UsageStats(3, 4, source=UsageSource.PARTIAL)
    with pytest.raises(ZeroDivisionError), office.record("req_1") as cut:
        cut.reader = Seen(seen)
        raise ZeroDivisionError
    with office.record("req_2") as unmetered:
        unmetered.ended(COMPLETED)
    assert (cut.row.usage, unmetered.row.usage) == (seen, NO_USAGE)


PRICED: Any = SimpleNamespace(provider=provider_named("anthropic"), settings=None)
"""An account, as far as prices go."""


async def test_the_cost_is_known_when_the_request_is_settled() -> None:
    """Whoever limits spending is an observer: the row that it sees has its price."""
    office = Office()
    with office.record() as record:
        record.row.model, record.row.started_at = "claude-3-7-sonnet-20250219", 1_780_000_000.0
        record.reader = Seen(UsageStats(1000, 100, source=UsageSource.EXACT))
        record.answered_by = PRICED
        record.ended(COMPLETED)
    assert [row.cost_usd for row in office.settled] == [pytest.approx((1000 * 3 + 100 * 15) / 1e6)]


def batch(*parts: UsagePart) -> UsageStats:
    return UsageStats(
        sum(part.usage.input_tokens for part in parts),
        source=UsageSource.EXACT,
        details=UsageDetails(service_tier="batch", batch_id="msgbatch_1"),
        parts=parts,
    )


def part(model: str, every_input: int, tokens: int) -> UsagePart:
    details = UsageDetails(service_tier="batch")
    return UsagePart(model, every_input, UsageStats(tokens, source=UsageSource.EXACT, details=details))


async def test_a_batch_is_booked_with_the_first_results_that_were_sent_whole() -> None:
    """At half the price, each answer at the price step of its own input: 3 USD, and 6 beyond 200,000 tokens."""
    office = Office()
    small, large = part("claude-sonnet-4-5", 1000, 2_000_000), part("claude-sonnet-4-5", 201_000, 402_000)
    left = ended_by_client(Phase.DATA)
    for number, outcome_of in enumerate((left, COMPLETED, COMPLETED)):
        with office.record(f"req_{number}") as record:
            record.row.started_at = 1_780_000_000.0
            record.reader, record.answered_by = Seen(batch(small, large)), PRICED
            record.ended(outcome_of)
    cut, first, second = office.settled
    assert cut.usage == second.usage == NO_USAGE
    assert cut.cost_usd is second.cost_usd is None
    assert first.usage.details.batch_id == "msgbatch_1"
    assert first.cost_usd == pytest.approx((2_000_000 * 1.5 + 402_000 * 3) / 1e6)
    assert first.cost_note == ""


async def test_a_model_of_a_batch_without_a_price_is_noted() -> None:
    office = Office()
    with office.record() as record:
        record.row.started_at = 1_780_000_000.0
        known, unknown = part("claude-sonnet-4-5", 1000, 1_000_000), part("claude-sim", 1000, 5)
        record.reader, record.answered_by = Seen(batch(known, unknown)), PRICED
        record.ended(COMPLETED)
    assert (record.row.cost_usd, record.row.cost_note) == (pytest.approx(1.5), "unknown_model")


@pytest.mark.parametrize(
    ("model", "started_at", "tokens"),
    [
        ("nobody-knows-it", 0.0, 1),
        ("\ud800", 0.0, 1),
        ("claude-sonnet-4-5", math.nan, 1),
        ("claude-sonnet-4-5", math.inf, 1),
        ("claude-sonnet-4-5", 1e15, 1),
        ("claude-sonnet-4-5", -1e15, 1),
        ("claude-sonnet-4-5", 0.0, 10**400),
        (None, 0.0, 1),
    ],
)
async def test_no_error_of_the_price_lists_loses_a_row(model: Any, started_at: float, tokens: int) -> None:
    office = Office()
    with office.record() as record:
        record.row.model, record.row.started_at = model, started_at
        record.reader = Seen(UsageStats(tokens, source=UsageSource.EXACT))
        record.answered_by = PRICED
        record.ended(COMPLETED)
    assert [(row.cost_usd, row.usage.input_tokens) for row in office.settled] == [(None, tokens)]


# --- judging an end that the pump did not choose ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "timed_out", "is_stopping", "word", "code", "by", "status"),
    [
        (True, False, False, "client_disconnect", "CD", "client", 499),
        (True, False, True, "client_disconnect", "CD", "client", 499),
        (True, True, False, "client_timeout", "cD", "client", None),
        (False, False, True, "shutdown", "KD", "shutdown", 499),
        (False, False, False, "internal", "ID", "relay", None),
    ],
)
async def test_a_cancellation_is_judged_by_who_is_gone(
    left: bool, timed_out: bool, is_stopping: bool, word: str, code: str, by: str, status: int | None
) -> None:
    """A client that left while the relay stopped has left. A cancellation that nobody announced is a defect."""
    office = Office()
    record = office.record(left=left, timed_out=timed_out)
    with trio.CancelScope() as scope, record:
        record.phase = Phase.DATA
        office.live.is_stopping = is_stopping
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert (outcome(record).word.value, outcome(record).code) == (word, code)
    assert record.row.cancelled_by == by
    if status is not None:
        assert record.row.status == status


@pytest.mark.parametrize("phase", [Phase.READING, Phase.DATA])
async def test_a_client_that_broke_the_protocol_did_not_leave(phase: Phase) -> None:
    """It was cut, and has to change something."""
    office = Office()
    record = office.record(lost_by=DisconnectReason.MISBEHAVED)
    with trio.CancelScope() as scope, record:
        record.phase = phase
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert (outcome(record).word.value, outcome(record).code) == ("rejected_request", f"P{phase.value}")
    assert record.row.cancelled_by == "relay"


async def test_a_cancellation_that_passed_a_nursery_is_judged_as_one() -> None:
    """Connecting opens a nursery, and what comes out of one is a group."""
    record = Office().record(left=True)
    with trio.CancelScope() as scope, record:
        record.phase = Phase.CONNECTING
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
    assert outcome(record).code == "CC"


async def test_a_defect_beside_a_cancellation_is_a_defect() -> None:
    """A group that holds both must not be blamed on the client."""
    record = Office().record(left=True)

    async def breaks() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup), trio.CancelScope() as scope, record:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaks)
            nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert outcome(record).code == "IR"


@pytest.mark.parametrize(
    ("error", "word", "code"),
    [
        (UpstreamIdle("silence"), "idle_timeout", "sH"),
        (UpstreamClosed("gone"), "upstream_error", "SH"),
        (NotFound("no"), "rejected_request", "PH"),
        (RelayError("a defect"), "internal", "IH"),
        (ZeroDivisionError(), "internal", "IH"),
        (KeyboardInterrupt(), "internal", "IH"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
async def test_an_error_is_judged_by_itself(error: BaseException, word: str, code: str) -> None:
    """Also when the client has left meanwhile: it is not why this request ended."""
    for left in (False, True):
        record = Office().record(left=left)
        with pytest.raises(type(error)), record:
            record.phase = Phase.HEAD
            raise error
        assert (outcome(record).word.value, outcome(record).code) == (word, code)
        assert record.row.cancelled_by == ""


async def test_what_the_pump_said_stands_against_what_comes_after() -> None:
    """An end that is known is not judged again, by a cancellation least of all."""
    record = Office().record(left=True)
    with trio.CancelScope() as scope, record:
        record.ended(COMPLETED)
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert outcome(record) is COMPLETED


@pytest.mark.parametrize(("left", "expected"), [(True, "CD"), (False, "ID")])
async def test_a_body_that_gave_up_is_the_clients_only_if_the_client_left(left: bool, expected: str) -> None:
    with Office().record(left=left) as record:
        record.phase = Phase.DATA
        record.ended(record.judge(trio.BrokenResourceError()))
    assert outcome(record).code == expected


async def test_a_body_that_gave_up_because_its_client_stalled_is_a_timeout() -> None:
    with Office().record(left=True, timed_out=True) as record:
        record.phase = Phase.DATA
        record.ended(record.judge(trio.BrokenResourceError()))
    assert outcome(record).code == "cD"


async def test_a_status_that_the_client_saw_is_not_replaced() -> None:
    with Office().record() as record:
        record.row.status = 200
        record.ended(ended_by_client(Phase.DATA))
    assert record.row.status == 200


# --- refusing -----------------------------------------------------------------------------------------------------


async def test_a_ledger_that_takes_no_row_refuses_the_request_and_nothing_is_left_behind() -> None:
    office = Office(FullLedger())
    with pytest.raises(LedgerUnavailable), office.record():
        raise AssertionError("a request without a row is not served")
    assert (len(office.live), office.settled) == (0, [])
    assert office.rejected == [Rejection("overloaded", "req_1")]
    assert await office.live.wait_idle(0)


async def test_a_relay_that_stops_takes_no_request_and_opens_no_row() -> None:
    office = Office()
    office.live.stop()
    with pytest.raises(ShuttingDown) as refused, office.record():
        raise AssertionError("a stopping relay takes no new work")
    assert refused.value.retry_after == 1
    assert (len(office.live), office.ledger.opened, office.settled) == (0, {}, [])
    assert office.rejected == [Rejection("overloaded", "req_1")]


async def test_entering_twice_is_an_error_and_the_first_row_is_still_closed_once() -> None:
    office = Office()
    record = office.record()
    with record:
        with pytest.raises(AssertionError), record:
            pass
        record.ended(COMPLETED)
    assert len(office.settled) == 1
    assert (office.ledger.open_rows, len(office.live)) == (0, 0)


# --- all that are open --------------------------------------------------------------------------------------------


async def test_phases_attempts_and_bytes_are_of_what_is_open_now() -> None:
    office, account = Office(), make_account("a")
    with office.record("req_1") as first, office.record("req_2") as second:
        second.phase, second.attempt_account = Phase.DATA, account
        first.response.sender.write(b"abc")
        second.response.sender.write(b"abcdefg")
        assert office.live.by_phase() == {"reading": 1, "data": 1}
        assert office.live.attempts() == {"a": 1}
        assert office.live.held_bytes() == (10, 7)
        assert set(office.live) == {first, second}
        first.ended(COMPLETED)
        second.ended(COMPLETED)
    assert (office.live.by_phase(), office.live.attempts(), office.live.held_bytes()) == ({}, {}, (0, 0))


async def test_ending_all_ends_each_in_its_own_limit(autojump_clock: MockClock) -> None:
    office = Office()

    async def request(request_id: str) -> None:
        with pytest.raises(ShuttingDown), office.record(request_id) as record, record.clock.limit():
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request, "req_1")
        nursery.start_soon(request, "req_2")
        await trio.testing.wait_all_tasks_blocked()
        office.live.end_all(ShuttingDown("stop"))
    assert [row.outcome.code for row in office.settled if row.outcome] == ["KR", "KR"]


async def test_waiting_until_idle_returns_at_once_when_it_is_and_at_the_limit_when_it_is_not(
    autojump_clock: MockClock,
) -> None:
    office = Office()
    started = trio.current_time()
    assert await office.live.wait_idle()
    with office.record() as record:
        assert not await office.live.wait_idle(3)
        record.ended(COMPLETED)
    assert await office.live.wait_idle(3)
    assert trio.current_time() - started == 3


async def test_a_request_that_comes_while_somebody_waits_for_idle_is_waited_for_too(autojump_clock: MockClock) -> None:
    office = Office()
    answers: list[bool] = []

    async def wait() -> None:
        answers.append(await office.live.wait_idle())

    async with trio.open_nursery() as nursery:
        with office.record("req_1") as first:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with office.record("req_2") as second:
                second.ended(COMPLETED)
            await trio.testing.wait_all_tasks_blocked()
            assert not answers
            first.ended(COMPLETED)
    assert answers == [True]


async def test_cancel_while_waiting_for_idle_changes_nothing(autojump_clock: MockClock) -> None:
    office = Office()
    with office.record() as record:
        with trio.move_on_after(1) as scope:
            await office.live.wait_idle()
        assert scope.cancelled_caught
        assert len(office.live) == 1
        record.ended(COMPLETED)
    assert await office.live.wait_idle()


async def test_the_ledgers_own_counts_are_passed_on() -> None:
    office: Any = Office()
    assert office.live.ledger_statistics() == office.ledger.statistics()
