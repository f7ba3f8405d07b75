"""A limit turns its own expiry into its own error, and leaves every other cancellation alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.errors import ClientStalled, ShuttingDown, UpstreamIdle, UpstreamTimeout
from relay_trio.relay.deadline import RequestClock
from tests.explorer import Run, explore

if TYPE_CHECKING:
    from trio.testing import MockClock


def idle() -> UpstreamIdle:
    return UpstreamIdle("the upstream sent nothing")


def stalled() -> ClientStalled:
    return ClientStalled("the client stopped reading")


async def test_silence_for_as_long_as_it_is_armed_ends_the_block_with_its_error(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    with pytest.raises(UpstreamIdle), RequestClock().limit() as limit:
        limit.arm(7, idle)
        await trio.sleep_forever()
    assert trio.current_time() - started == 7


async def test_each_arm_moves_the_deadline_and_the_last_reason_counts(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    with pytest.raises(ClientStalled), RequestClock().limit() as limit:
        for _ in range(5):
            limit.arm(7, idle)
            await trio.sleep(6)
        limit.arm(3, stalled)
        await trio.sleep_forever()
    assert trio.current_time() - started == 33


async def test_a_block_that_ends_in_time_ends_as_if_there_were_no_limit(autojump_clock: MockClock) -> None:
    with RequestClock().limit() as limit:
        limit.arm(7, idle)
        await trio.sleep(6)
    await trio.sleep(60)


async def test_a_limit_nobody_armed_never_ends(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    assert clock.total_deadline == math.inf
    with clock.limit():
        await trio.sleep(80_000)


async def test_the_blocks_own_error_passes_even_when_the_limit_expires_with_it(autojump_clock: MockClock) -> None:
    with pytest.raises(ZeroDivisionError), RequestClock().limit() as limit:
        limit.arm(7, idle)
        with trio.CancelScope(shield=True):
            await trio.sleep(8)
        raise ZeroDivisionError


# --- a cancellation from outside ----------------------------------------------------------------------------------


async def test_a_cancellation_from_outside_passes_through_as_one(autojump_clock: MockClock) -> None:
    seen: list[BaseException] = []
    with trio.move_on_after(3) as outside, RequestClock().limit() as limit:
        limit.arm(7, idle)
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            seen.append(cancelled)
            raise
    assert outside.cancelled_caught
    assert len(seen) == 1


def test_cancel_anywhere_under_a_limit_is_never_an_error_value() -> None:
    """What reaches the code that judges health is a verdict or nothing."""

    async def scenario(run: Run) -> None:
        clock = RequestClock()
        with run.target() as scope:
            for _ in range(2):
                with clock.limit() as limit:
                    limit.arm(5, idle)
                    await trio.lowlevel.checkpoint()
                    limit.arm(5, stalled)
                    await trio.sleep(1)
        if run.is_struck and scope.cancelled_caught:
            with clock.limit():  # the clock is free for the next
                await trio.lowlevel.checkpoint()
        assert clock._current is None

    explore(scenario)


# --- the total limit ----------------------------------------------------------------------------------------------


async def test_the_total_limit_ends_whatever_limit_is_current(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    clock.set_total(10)
    started = trio.current_time()
    with clock.limit() as first:
        first.arm(8, idle)
        await trio.sleep(6)
    with pytest.raises(UpstreamTimeout, match="10 seconds") as caught, clock.limit() as second:
        second.arm(8, idle)
        await trio.sleep_forever()
    assert caught.type is UpstreamTimeout
    assert trio.current_time() - started == 10


async def test_the_total_limit_holds_where_nothing_else_was_armed(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    clock.set_total(10)
    with pytest.raises(UpstreamTimeout), clock.limit():
        await trio.sleep_forever()


async def test_a_total_limit_that_passed_between_two_limits_ends_the_next_at_once(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    clock.set_total(10)
    await trio.sleep(20)
    with pytest.raises(UpstreamTimeout), clock.limit() as limit:
        limit.arm(5, idle)
        await trio.lowlevel.checkpoint()


async def test_of_two_limits_at_one_moment_the_total_one_is_told(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    clock.set_total(10)
    with pytest.raises(UpstreamTimeout) as caught, clock.limit() as limit:
        limit.arm(10, idle)
        await trio.sleep_forever()
    assert caught.type is UpstreamTimeout


# --- ended from outside -------------------------------------------------------------------------------------------


async def test_a_request_ended_inside_a_limit_gets_that_error_now(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    async with trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(ShuttingDown), clock.limit() as limit:
                limit.arm(50, idle)
                await trio.sleep_forever()

        nursery.start_soon(request)
        await trio.sleep(2)
        clock.end_with(ShuttingDown("stop"))
    assert trio.current_time() < 50


async def test_a_request_ended_before_its_first_limit_ends_when_it_enters_it(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    clock.end_with(ShuttingDown("stop"))
    with pytest.raises(ShuttingDown), clock.limit() as limit:
        limit.arm(50, idle)
        await trio.lowlevel.checkpoint()


async def test_a_request_ended_between_two_limits_ends_in_the_next(autojump_clock: MockClock) -> None:
    clock = RequestClock()
    with clock.limit():
        await trio.lowlevel.checkpoint()
    clock.end_with(ShuttingDown("stop"))
    with pytest.raises(ShuttingDown), clock.limit():
        await trio.sleep_forever()


async def test_a_request_ended_in_a_limit_that_it_leaves_without_noticing_ends_in_the_next(
    autojump_clock: MockClock,
) -> None:
    clock = RequestClock()
    with clock.limit():
        clock.end_with(ShuttingDown("stop"))
    with pytest.raises(ShuttingDown), clock.limit():
        await trio.lowlevel.checkpoint()


async def test_arming_after_the_end_changes_neither_reason_nor_time(autojump_clock: MockClock) -> None:
    """The pump may pass an ``arm`` before it notices; with the reason overwritten, a stop was reported as a stall."""
    clock = RequestClock()
    started = trio.current_time()
    with pytest.raises(ShuttingDown), clock.limit() as limit:
        limit.arm(50, idle)
        clock.end_with(ShuttingDown("stop"))
        limit.arm(50, stalled)
        await trio.sleep_forever()
    assert trio.current_time() == started


async def test_arming_after_the_expiry_changes_neither(autojump_clock: MockClock) -> None:
    with pytest.raises(UpstreamIdle), RequestClock().limit() as limit:
        limit.arm(5, idle)
        with trio.CancelScope(shield=True):
            await trio.sleep(6)
        limit.arm(50, stalled)
        await trio.sleep_forever()


async def test_a_stop_that_comes_after_the_expiry_is_not_what_ended_the_request(autojump_clock: MockClock) -> None:
    """The first end stands, in this order too: the account that stalled is blamed, not the operator."""
    clock = RequestClock()
    with pytest.raises(UpstreamIdle), clock.limit() as limit:
        limit.arm(5, idle)
        with trio.CancelScope(shield=True):
            await trio.sleep(6)
        clock.end_with(ShuttingDown("stop"))
        await trio.lowlevel.checkpoint()
