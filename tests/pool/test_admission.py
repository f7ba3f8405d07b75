"""Admission to the pool: selection, first come first served, and slots that cannot be lost on the way."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.errors import NoAccountInRotation, NotFound, NoUsableAccount, QueueFull
from relay_trio.settings import BreakerSettings
from tests.pool.pools import make_account, make_pool

if TYPE_CHECKING:
    from relay_trio.pool.admission import Admission, SlotRequest
    from relay_trio.pool.slots import SlotTable


async def hold(admission: Admission, wanted: SlotRequest, log: list[object], release: trio.Event) -> None:
    with await admission.acquire(wanted) as account:
        log.append((wanted.order, account.name))
        await release.wait()


def assert_at_rest(admission: Admission, slots: SlotTable) -> None:
    statistics = admission.statistics()
    assert slots.total_in_use() == 0
    assert slots.total_reserved() == 0
    assert statistics.waiting == 0
    assert statistics.entered == statistics.granted + statistics.left


# --- selection ----------------------------------------------------------------------------------------------------


async def test_the_least_loaded_account_is_chosen_by_weight_within_the_lowest_priority() -> None:
    admission, slots = make_pool(
        make_account("a", max_concurrency=9, weight=2),
        make_account("b", max_concurrency=9, weight=1),
        make_account("spare", max_concurrency=9, priority=1),
    )
    leases = []
    for _ in range(6):
        lease = await admission.acquire(admission.new_request("m"))
        lease.__enter__()
        leases.append(lease)
    assert [slots.in_use(name) for name in ("a", "b", "spare")] == [4, 2, 0]
    for lease in leases:
        lease.__exit__(None, None, None)
    assert_at_rest(admission, slots)


async def test_equal_accounts_go_round() -> None:
    admission, _ = make_pool(make_account("a"), make_account("b"), make_account("c"))
    names = []
    for _ in range(6):
        with await admission.acquire(admission.new_request("m")) as account:
            names.append(account.name)
    assert names == ["a", "b", "c", "a", "b", "c"]


async def test_the_next_priority_serves_when_the_first_is_full() -> None:
    admission, _ = make_pool(make_account("a"), make_account("spare", priority=5))
    with await admission.acquire(admission.new_request("m")) as first:
        with await admission.acquire(admission.new_request("m")) as second:
            assert (first.name, second.name) == ("a", "spare")


async def test_a_model_that_nobody_serves_is_not_found() -> None:
    admission, _ = make_pool(make_account(models=["claude-*"]))
    with pytest.raises(NotFound, match="gpt"):
        admission.new_request("gpt-9")


async def test_a_model_that_nobody_serves_is_answered_with_those_that_the_client_may_use() -> None:
    admission, _ = make_pool(make_account("a", models=["claude-*", "x-1"]), make_account("b", models=["claude-*", "y"]))
    with pytest.raises(NotFound, match=r"served to this key: claude-sonnet-[*], y$"):
        admission.new_request("gpt-9", "claude.messages", allowed=("claude-sonnet-*", "y"))
    with pytest.raises(NotFound, match=r"served to this key: none$"):
        admission.new_request("gpt-9", "claude.messages", allowed=("z",))


async def test_a_model_that_is_served_for_something_else_is_said_to_be() -> None:
    """A client that reads "nobody serves this model" looks for a typo in the name, and there is none."""
    admission, _ = make_pool(make_account("a", models=["claude-*"]))
    with pytest.raises(NotFound) as caught:
        admission.new_request("claude-x", "gemini.generate_content")
    assert caught.value.message == (
        'the model "claude-x" is served here, but not for gemini.generate_content; models served to this key: none'
    )
    with pytest.raises(NotFound, match=r'^no account of this relay serves the model "gpt-9"; '):
        admission.new_request("gpt-9", "claude.messages")
    with pytest.raises(NotFound, match=r"^no account of this relay serves bedrock.inference_profiles$"):
        admission.new_request(None, "bedrock.inference_profiles")


async def test_the_list_of_models_in_an_error_has_a_bound() -> None:
    admission, _ = make_pool(make_account(models=[f"m-{number}" for number in range(500)]))
    with pytest.raises(NotFound, match=r"m-0, m-1, .*m-19 and 480 more$"):
        admission.new_request("gpt-9", "claude.messages")


async def test_a_pinned_request_always_goes_to_the_same_account() -> None:
    admission, _ = make_pool(make_account("a", max_concurrency=2), make_account("b", max_concurrency=2))
    for _ in range(3):
        with await admission.acquire(admission.new_request(None, is_pinned=True)) as account:
            assert account.name == "a"


async def test_an_account_that_was_tried_is_not_tried_again() -> None:
    accounts = make_account("a"), make_account("b")
    admission, _ = make_pool(*accounts)
    wanted = admission.new_request("m")
    wanted.tried.add(accounts[0].health)
    with await admission.acquire(wanted) as account:
        assert account.name == "b"
    wanted.tried.add(accounts[1].health)
    with pytest.raises(NoUsableAccount):
        await admission.acquire(wanted)


# --- the queue ----------------------------------------------------------------------------------------------------


async def test_waiters_are_served_in_the_order_of_their_arrival(autojump_clock: trio.testing.MockClock) -> None:
    admission, slots = make_pool(make_account())
    log: list[object] = []
    releases = [trio.Event() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for release in releases:
            nursery.start_soon(hold, admission, admission.new_request("m"), log, release)
            await trio.testing.wait_all_tasks_blocked()
        assert admission.statistics().waiting == 4
        for release in releases:
            release.set()
            await trio.testing.wait_all_tasks_blocked()
    assert log == [(order, "a") for order in range(1, 6)]
    assert_at_rest(admission, slots)


async def test_a_request_that_fails_over_keeps_its_place_in_the_queue() -> None:
    accounts = make_account("a"), make_account("b")
    admission, _ = make_pool(*accounts)
    log: list[object] = []
    early, late = admission.new_request("m"), admission.new_request("m")
    early.tried.add(accounts[0].health)
    release = trio.Event()
    async with trio.open_nursery() as nursery:
        with await admission.acquire(admission.new_request("m")), await admission.acquire(admission.new_request("m")):
            nursery.start_soon(hold, admission, late, log, release)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(hold, admission, early, log, release)
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(log) == [(1, "b"), (2, "a")]
        release.set()


async def test_a_newcomer_does_not_overtake_a_waiter_that_was_woken_and_has_not_run_yet() -> None:
    admission, _ = make_pool(make_account())
    log: list[object] = []
    release = trio.Event()
    release.set()
    async with trio.open_nursery() as nursery:
        with await admission.acquire(admission.new_request("m")):
            nursery.start_soon(hold, admission, admission.new_request("m"), log, release)
            await trio.testing.wait_all_tasks_blocked()
        await hold(admission, admission.new_request("m"), log, release)
    assert [order for order, _ in log] == [2, 3]


async def test_a_waiter_cancelled_in_the_moment_of_its_grant_hands_the_slot_on() -> None:
    admission, slots = make_pool(make_account())
    log: list[object] = []
    release = trio.Event()
    release.set()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def cancelled_waiter() -> None:
            with scope:
                await hold(admission, admission.new_request("m"), log, trio.Event())

        with await admission.acquire(admission.new_request("m")):
            nursery.start_soon(cancelled_waiter)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(hold, admission, admission.new_request("m"), log, release)
            await trio.testing.wait_all_tasks_blocked()
        statistics = admission.statistics()
        assert statistics.entered == statistics.granted + statistics.left + statistics.waiting
        scope.cancel()  # the slot is reserved for it already, and it has not run since
    assert (3, "a") in log
    assert_at_rest(admission, slots)


async def test_a_waiter_that_leaves_is_gone_at_once_and_the_order_of_the_rest_stays() -> None:
    admission, slots = make_pool(make_account())
    log: list[object] = []
    release = trio.Event()
    release.set()
    scopes = [trio.CancelScope() for _ in range(4)]

    async def waiter(scope: trio.CancelScope) -> None:
        with scope:
            await hold(admission, admission.new_request("m"), log, release)

    async with trio.open_nursery() as nursery:
        with await admission.acquire(admission.new_request("m")):
            for scope in scopes:
                nursery.start_soon(waiter, scope)
                await trio.testing.wait_all_tasks_blocked()
            scopes[0].cancel()
            scopes[2].cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert admission.statistics().waiting == 2
    assert [order for order, _ in log] == [3, 5]
    assert_at_rest(admission, slots)


async def test_a_full_queue_refuses_at_once() -> None:
    admission, slots = make_pool(make_account(), max_waiting=2)
    log: list[object] = []
    release = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(hold, admission, admission.new_request("m"), log, release)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(QueueFull):
            await admission.acquire(admission.new_request("m"))
        release.set()
    assert_at_rest(admission, slots)


async def test_waiters_for_one_model_do_not_block_those_for_another() -> None:
    admission, _ = make_pool(make_account("a", models=["a"]), make_account("b", models=["b"]))
    log: list[object] = []
    release = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, admission, admission.new_request("a"), log, release)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, admission, admission.new_request("a"), log, release)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            with await admission.acquire(admission.new_request("b")) as account:
                assert account.name == "b"
        release.set()


# --- health -------------------------------------------------------------------------------------------------------


async def test_a_cool_down_that_ends_wakes_the_queue_without_polling(autojump_clock: trio.testing.MockClock) -> None:
    account = make_account()
    admission, slots = make_pool(account)
    account.health.cool_down(trio.current_time(), 20, "429")
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        log: list[object] = []
        release = trio.Event()
        release.set()
        for _ in range(3):
            nursery.start_soon(hold, admission, admission.new_request("m"), log, release)
    assert trio.current_time() - started == pytest.approx(20)
    assert len(log) == 3
    assert_at_rest(admission, slots)


async def test_a_cool_down_that_begins_while_others_wait_wakes_them_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    account = make_account()
    admission, _ = make_pool(account)
    log: list[object] = []
    release = trio.Event()
    release.set()
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        with await admission.acquire(admission.new_request("m")):
            nursery.start_soon(hold, admission, admission.new_request("m"), log, release)
            await trio.testing.wait_all_tasks_blocked()
            account.health.cool_down(trio.current_time(), 7, "429")
    assert trio.current_time() - started == pytest.approx(7)


async def test_a_cool_down_longer_than_the_callers_deadline_is_refused_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    account = make_account()
    admission, _ = make_pool(account)
    account.health.cool_down(trio.current_time(), 60, "429")
    with trio.move_on_after(30), pytest.raises(NoUsableAccount) as refused:
        await admission.acquire(admission.new_request("m"))
    assert refused.value.retry_after == pytest.approx(60)


async def test_where_every_account_waits_for_an_operator_a_client_is_not_to_try_again() -> None:
    account = make_account()
    admission, _ = make_pool(account)
    account.health.disable("the key was refused")
    with pytest.raises(NoAccountInRotation) as refused:
        await admission.acquire(admission.new_request("m"))
    assert (refused.value.should_retry, refused.value.retry_after) == (False, None)


async def test_the_last_account_is_never_ejected() -> None:
    account, other = make_account("a", BreakerSettings(strikes=1)), make_account("b", BreakerSettings(strikes=1))
    admission, _ = make_pool(account, other)
    account.health.strike(trio.current_time())
    with await admission.acquire(admission.new_request("m")) as chosen:
        assert chosen.name == "b"
    other.health.strike(trio.current_time())
    with trio.fail_after(1):
        with await admission.acquire(admission.new_request("m")):
            pass


async def test_waiters_are_refused_when_their_last_account_is_disabled() -> None:
    account = make_account()
    admission, slots = make_pool(account)
    async with trio.open_nursery() as nursery:

        async def waiter() -> None:
            with pytest.raises(NoUsableAccount):
                await admission.acquire(admission.new_request("m"))

        with await admission.acquire(admission.new_request("m")):
            nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked()
            account.health.disable("401")
    assert_at_rest(admission, slots)


# --- under load ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_no_storm_of_cancellations_loses_a_slot_or_breaks_a_cap(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    draw = random.Random(seed)
    admission, slots = make_pool(
        make_account("a", max_concurrency=3), make_account("b", max_concurrency=2, models=["x*"]), max_waiting=50
    )
    live: dict[str, int] = {"a": 0, "b": 0}

    async def request() -> None:
        with trio.move_on_after(draw.uniform(0, 3)):
            try:
                lease = await admission.acquire(admission.new_request(draw.choice(["x1", "y"])))
            except (QueueFull, NoUsableAccount):
                return
            with lease as account:
                live[account.name] += 1
                try:
                    assert live == {name: slots.in_use(name) for name in live}
                    assert slots.in_use(account.name) <= account.settings.max_concurrency
                    await trio.sleep(draw.uniform(0, 2))
                    if draw.random() < 0.1:
                        account.health.cool_down(trio.current_time(), draw.uniform(0, 2), "429")
                finally:
                    live[account.name] -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(request)
            await trio.sleep(draw.expovariate(10))
    assert_at_rest(admission, slots)
