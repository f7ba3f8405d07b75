"""Accounts that come, change and go while their slots are held, and the queue in front of them meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_trio.api.verdict import Verdict
from relay_trio.errors import NotFound, NoUsableAccount, UpstreamError, UpstreamRateLimited
from relay_trio.pool.admission import Admission
from relay_trio.pool.policy import LeastLoaded
from relay_trio.pool.pool import Pool
from relay_trio.pool.slots import SlotTable
from relay_trio.settings import BreakerSettings
from tests.pool.pools import make_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.pool.account import Account
    from relay_trio.pool.admission import Lease, SlotRequest

    Step = tuple[str, str, int, str]
    """What to do, with which account, how often or how many, and how long to wait then."""

LIMITED = Verdict(UpstreamRateLimited("the upstream answered 429"), cooldown_seconds=5)
FAILED = Verdict(UpstreamError("the upstream answered 500"), is_strike=True)


def open_pool(*accounts: Account) -> tuple[Pool, Admission]:
    pool = Pool(accounts, SlotTable())
    return pool, Admission(pool, LeastLoaded(), max_waiting=100)


def leased(admission: Admission, model: str = "m") -> Lease:
    lease = admission.acquire_nowait(admission.new_request(model))
    assert lease is not None
    lease.__enter__()
    return lease


def end(lease: Lease) -> None:
    lease.__exit__(None, None, None)


def names(accounts: tuple[Account, ...]) -> list[str]:
    return [account.name for account in accounts]


async def wait_for_slot(admission: Admission, wanted: SlotRequest, got: list[str]) -> None:
    with await admission.acquire(wanted) as account:
        got.append(account.name)


# --- one change at a time -----------------------------------------------------------------------------------------


async def test_an_account_that_is_added_serves_those_who_wait_already() -> None:
    pool, admission = open_pool(make_account("a"))
    held, got = leased(admission), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_slot, admission, admission.new_request("m"), got)
        await trio.testing.wait_all_tasks_blocked()
        pool.add(make_account("b"))
    assert got == ["b"]
    end(held)


async def test_a_model_is_found_from_the_moment_that_an_account_serves_it_and_until_none_does() -> None:
    pool, admission = open_pool(make_account("a", models=["a"]))
    with pytest.raises(NotFound):
        admission.new_request("m")
    pool.add(make_account("b", models=["m"]))
    admission.new_request("m")
    pool.retire("b")
    with pytest.raises(NotFound):
        admission.new_request("m")


async def test_a_retired_account_takes_no_lease_and_is_gone_with_its_last_one() -> None:
    pool, admission = open_pool(make_account("a", max_concurrency=2), make_account("b"))
    leases = [leased(admission), leased(admission)]
    of_a, of_b = sorted(leases, key=lambda lease: lease.account.name)
    pool.retire("a")
    assert (names(pool.accounts), names(pool.retiring)) == (["b"], ["a"])
    assert admission.acquire_nowait(admission.new_request("m")) is None
    assert pool.slots.in_use("a") == 1
    end(of_a)
    assert names(pool.retiring) == []
    assert pool.slots.capacity("a") == 0
    end(of_b)


async def test_an_account_without_leases_is_gone_at_once() -> None:
    pool, _ = open_pool(make_account("a"), make_account("b"))
    pool.retire("a")
    assert (names(pool.accounts), pool.retiring, pool.slots.capacity("a")) == (["b"], (), 0)


async def test_a_slot_that_was_granted_before_the_account_retired_can_still_be_taken() -> None:
    pool, admission = open_pool(make_account("a"))
    lease = admission.acquire_nowait(admission.new_request("m"))
    assert lease is not None
    pool.retire("a")
    with lease as account:
        assert account.name == "a"
        assert names(pool.retiring) == ["a"]
    assert pool.retiring == ()


async def test_a_retired_account_is_gone_also_when_its_last_slot_was_reserved_for_one_who_left() -> None:
    pool, admission = open_pool(make_account("a"))
    held, got = leased(admission), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_slot, admission, admission.new_request("m"), got)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        end(held)
        assert pool.slots.total_reserved() == 1
        pool.retire("a")
        assert names(pool.retiring) == ["a"]
    assert (got, pool.retiring, pool.slots.total_reserved()) == ([], (), 0)


async def test_those_who_wait_for_an_account_that_retires_are_refused_at_once() -> None:
    pool, admission = open_pool(make_account("a"))
    held = leased(admission)
    async with trio.open_nursery() as nursery:

        async def waiter() -> None:
            with pytest.raises(NoUsableAccount):
                await admission.acquire(admission.new_request("m"))

        nursery.start_soon(waiter)
        await trio.testing.wait_all_tasks_blocked()
        pool.retire("a")
    end(held)


async def test_one_who_waits_while_its_account_retires_and_comes_back_goes_on_waiting() -> None:
    """Without running in circles until a slot is free."""
    pool, admission = open_pool(make_account("a"))
    held, got = leased(admission), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_slot, admission, admission.new_request("m"), got)
        await trio.testing.wait_all_tasks_blocked()
        pool.retire("a")
        pool.add(make_account("a"))
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        end(held)
    assert got == ["a"]


async def test_an_account_that_comes_back_shares_its_slots_with_its_leases_of_before() -> None:
    pool, admission = open_pool(make_account("a"))
    held = leased(admission)
    pool.retire("a")
    pool.add(make_account("a"))
    assert pool.retiring == ()
    assert admission.acquire_nowait(admission.new_request("m")) is None
    end(held)
    end(leased(admission))


async def test_a_replaced_account_keeps_its_place_and_its_counts_and_old_leases_end_with_the_old_one() -> None:
    pool, admission = open_pool(make_account("a", max_concurrency=3), make_account("b", max_concurrency=3, priority=9))
    held = leased(admission)
    new = make_account("a", max_concurrency=2)
    pool.replace(new)
    assert names(pool.accounts) == ["a", "b"]
    assert held.account is not new
    assert (pool.slots.in_use("a"), pool.slots.capacity("a")) == (1, 2)
    second = leased(admission)
    assert second.account is new
    assert leased(admission).account.name == "b"
    end(held)
    end(second)
    assert pool.slots.in_use("a") == 0


async def test_a_capacity_that_is_raised_serves_those_who_wait_and_one_that_is_lowered_takes_nothing_away() -> None:
    pool, admission = open_pool(make_account("a"))
    held, got = leased(admission), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_slot, admission, admission.new_request("m"), got)
        await trio.testing.wait_all_tasks_blocked()
        pool.slots.set_capacity("a", 2)
        admission.capacity_changed()
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["a"]
        pool.slots.set_capacity("a", 0)
        admission.capacity_changed()
        nursery.start_soon(wait_for_slot, admission, admission.new_request("m"), got)
        end(held)
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["a"]
        pool.replace(make_account("a", max_concurrency=1))
    assert got == ["a", "a"]


def test_a_name_is_added_once_and_only_what_is_there_is_replaced_or_retired() -> None:
    pool, _ = open_pool(make_account("a"))
    with pytest.raises(ValueError, match="already"):
        pool.add(make_account("a"))
    with pytest.raises(ValueError, match="no account"):
        pool.replace(make_account("b"))
    with pytest.raises(ValueError, match="no account"):
        pool.retire("b")


async def test_a_whole_list_is_adopted_in_its_order() -> None:
    pool, admission = open_pool(make_account("a"), make_account("b"))
    held = leased(admission)
    pool.adopt([make_account("c"), make_account("b", max_concurrency=4)])
    assert (names(pool.accounts), names(pool.retiring)) == (["c", "b"], ["a"])
    assert pool.slots.capacity("b") == 4
    pinned = admission.acquire_nowait(admission.new_request("m", is_pinned=True))
    assert pinned is not None
    with pinned as account:
        assert account.name == "c"
    end(held)


def test_whether_any_account_can_ever_serve() -> None:
    pool, _ = open_pool(make_account("a"))
    assert pool.can_ever_serve()
    pool.accounts[0].health.disable("401")
    assert not pool.can_ever_serve()
    pool.replace(make_account("a", api_key="sk-other"))
    assert pool.can_ever_serve()


# --- what stays known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{}, {"max_concurrency": 7}, {"models": ["x"]}, {"weight": 2}, {"priority": 3}, {"idle_timeout_seconds": 4}],
    ids=lambda changes: next(iter(changes), "nothing"),
)
async def test_the_health_of_the_same_upstream_stays_known(changes: dict[str, Any]) -> None:
    """A reload must not send everybody back to an account that asked to be left alone."""
    pool, _ = open_pool(make_account("a"))
    pool.accounts[0].note(LIMITED)
    before = pool.accounts[0]
    pool.replace(make_account("a", **changes))
    (after,) = pool.accounts
    assert after is not before
    assert after.health.available_at() > trio.current_time()
    assert after.credentials is before.credentials


@pytest.mark.parametrize(
    "changes", [{"api_key": "sk-new"}, {"base_url": "https://other.example"}], ids=lambda changes: next(iter(changes))
)
async def test_another_credential_or_address_begins_anew(changes: dict[str, Any]) -> None:
    pool, _ = open_pool(make_account("a"))
    pool.accounts[0].note(Verdict(UpstreamError("refused"), is_credential_refused=True))
    pool.replace(make_account("a", **changes))
    assert pool.accounts[0].health.available_at() <= trio.current_time()


async def test_what_the_old_ones_leases_find_out_counts_for_the_new_one_which_has_its_own_breaker() -> None:
    pool, admission = open_pool(make_account("a", BreakerSettings(strikes=9)))
    held = leased(admission)
    held.account.note(FAILED)
    pool.replace(make_account("a", BreakerSettings(strikes=2)))
    held.account.note(FAILED)
    assert pool.accounts[0].health.available_at() > trio.current_time()
    end(held)


@pytest.mark.parametrize(
    ("changes", "is_same"), [({"weight": 2}, True), ({"base_url": "https://other.example"}, False)]
)
async def test_only_another_upstream_under_the_same_name_may_be_tried_and_speaks_for_itself(
    changes: dict[str, Any], is_same: bool
) -> None:
    pool, admission = open_pool(make_account("a"))
    request, (before,) = admission.new_request("m"), pool.accounts
    request.tried.add(before.health)
    assert pool.has(before)
    pool.replace(make_account("a", **changes))
    assert admission.has_candidate(request) is not is_same
    assert pool.has(before) is is_same
    pool.retire("a")
    assert not pool.has(before)


async def test_names_that_have_gone_are_not_remembered() -> None:
    policy, pool = LeastLoaded(), Pool([make_account("a")], SlotTable())
    admission = Admission(pool, policy, max_waiting=100)
    for number in range(50):
        pool.adopt([make_account(f"a{number}"), make_account("b")])
        end(leased(admission))
        end(leased(admission))
    assert set(policy._last_used) == {"a49", "b"}


# --- all changes in any order, while leases and waiters live ------------------------------------------------------

NAMES = "ab"
MODELS = {"a": ("*",), "b": ("x*",)}
PAUSES = ("none", "one step", "until all wait")
REQUESTED = ("x1", "y")


class CheckedSlots(SlotTable):
    """A table that checks each grant when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.is_offered: Callable[[str], bool] = lambda name: False

    def reserve_nowait(self, account: str) -> bool:
        is_reserved = super().reserve_nowait(account)
        assert self.is_offered(account), "a slot of an account that takes no leases was granted"
        assert not is_reserved or self.held(account) <= self.capacity(account), "a slot was granted beyond the capacity"
        return is_reserved


@dataclass(eq=False)
class Request:
    model: str
    is_pinned: bool
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    release: trio.Event = field(default_factory=trio.Event)
    account: Account | None = None
    is_over: bool = False

    async def run(self, admission: Admission) -> None:
        try:
            with self.scope:
                wanted = admission.new_request(self.model, is_pinned=self.is_pinned)
                with await admission.acquire(wanted) as self.account:
                    await self.release.wait()
        except (NotFound, NoUsableAccount):
            pass
        finally:
            self.account, self.is_over = None, True


class Machine:
    """A pool, its queue, and what must be true of them between any two changes."""

    def __init__(self) -> None:
        slots = CheckedSlots()
        self.pool = Pool([make_account("a")], slots)
        slots.is_offered = lambda name: name in names(self.pool.accounts)
        self.admission = Admission(self.pool, LeastLoaded(), max_waiting=1000)
        self.requests: list[Request] = []

    @property
    def live(self) -> list[Request]:
        return [request for request in self.requests if not request.is_over]

    def account(self, name: str, capacity: int) -> Account:
        return make_account(name, max_concurrency=capacity, models=MODELS[name])

    def change(self, kind: str, name: str, number: int) -> None:
        is_there = name in names(self.pool.accounts)
        match kind:
            case "put" if is_there:
                self.pool.replace(self.account(name, max(1, number)))
            case "put":
                self.pool.add(self.account(name, max(1, number)))
            case "retire" if is_there:
                self.pool.retire(name)
            case "grow" | "shrink" if is_there:
                capacity = self.pool.slots.capacity(name) + (1 if kind == "grow" else -1)
                self.pool.slots.set_capacity(name, max(capacity, 0))
                self.admission.capacity_changed()
            case "cool" if is_there:
                next(account for account in self.pool.accounts if account.name == name).note(LIMITED)
            case "release" if holding := [request for request in self.live if request.account is not None]:
                holding[number % len(holding)].release.set()
            case "leave" if waiting := [request for request in self.live if request.account is None]:
                waiting[number % len(waiting)].scope.cancel()
            case "cancel" if self.live:
                self.live[number % len(self.live)].scope.cancel()

    def check(self) -> None:
        slots, now = self.pool.slots, trio.current_time()
        held = [request.account.name for request in self.live if request.account is not None]
        for name in NAMES:
            assert slots.in_use(name) == held.count(name), "a lease was lost"
            assert slots.is_within_capacity(name)
        assert slots.total_reserved() == 0
        waiting = [request for request in self.live if request.account is None]
        assert self.admission.statistics().waiting == len(waiting)
        for request in waiting:
            serving = [account for account in self.pool.accounts if account.serves(request.model)]
            if request.is_pinned:
                serving = serving[:1]
            assert serving, "somebody waits for an account that is gone"
            for account in serving:
                is_free = slots.held(account.name) < slots.capacity(account.name)
                assert not is_free or account.health.available_at() > now, "somebody waits while a slot is free"
        assert set(names(self.pool.retiring)) == set(held) - set(names(self.pool.accounts))

    async def run(self, steps: list[Step]) -> None:
        async with trio.open_nursery() as nursery:
            for kind, name, number, pause in steps:
                if kind == "request":
                    request = Request(REQUESTED[number % len(REQUESTED)], is_pinned=name == "a")
                    self.requests.append(request)
                    nursery.start_soon(request.run, self.admission)
                elif kind == "sleep":
                    await trio.sleep(number)
                else:
                    self.change(kind, name, number)
                if pause == "one step":
                    await trio.lowlevel.checkpoint()
                elif pause == "until all wait":
                    await trio.testing.wait_all_tasks_blocked()
                    self.check()
            await trio.testing.wait_all_tasks_blocked()
            self.check()
            for name in NAMES:
                self.change("put", name, 3)
            for request in self.requests:
                request.release.set()
        statistics = self.admission.statistics()
        assert (statistics.waiting, statistics.entered) == (0, statistics.granted + statistics.left)
        assert (self.pool.slots.total_in_use(), self.pool.retiring) == (0, ())


KINDS = (
    *("request", "request", "request", "release", "release", "leave", "leave", "cancel"),
    *("put", "put", "retire", "grow", "grow", "shrink", "cool", "sleep"),
)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES), st.integers(0, 2), st.sampled_from(PAUSES)),
        min_size=10,
        max_size=60,
    )
)
def test_whatever_changes_no_lease_is_lost_and_nobody_waits_while_a_slot_is_free(
    steps: list[Step],
) -> None:
    """Accounts come, go and change, capacities rise and fall, requests come, leave and wait: in any order, and also
    several changes between two steps of any task."""
    trio.run(Machine().run, steps, clock=trio.testing.MockClock(autojump_threshold=0))
