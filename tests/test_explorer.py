"""The explorer finds what it exists to find, and lets correct code pass."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.explorer import ExplorationFailed, Run, Steps, do_nothing, explore

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slots:
    """A counter with a right and a wrong way of holding a slot."""

    def __init__(self) -> None:
        self.held = 0

    @contextmanager
    def lease(self) -> Iterator[None]:
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def acquire(self) -> None:
        await trio.lowlevel.checkpoint()
        self.held += 1


def test_a_lease_held_by_with_passes_at_every_step() -> None:
    """Correct code survives a cancel after each step, in both ways of counting and for several seeds."""

    async def scenario(run: Run) -> None:
        slots = Slots()
        with run.target():
            for _ in range(3):
                with slots.lease():
                    await trio.sleep(1)
        assert slots.held == 0

    exploration = explore(scenario, seeds=(0, 1))
    assert exploration.steps >= 3
    assert exploration.runs > exploration.steps


def test_an_await_between_acquire_and_try_is_found() -> None:
    """The commonest leak: the slot is taken, then something waits before ``try``."""

    async def scenario(run: Run) -> None:
        slots = Slots()
        with run.target():
            await slots.acquire()
            await trio.lowlevel.checkpoint()
            try:
                await trio.sleep(1)
            finally:
                slots.held -= 1
        assert slots.held == 0

    with pytest.raises(ExplorationFailed, match=r"of tasks below the target, seed 0, after .*test_explorer"):
        explore(scenario)


async def hand_over(run: Run) -> None:
    """A value crosses to the target by rescheduling: between that and the target's next step nobody holds it."""
    slots = Slots()
    waiting: list[trio.lowlevel.Task] = []

    def granted_slot_is_lost(raise_cancel: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED

    async def grant() -> None:
        while not waiting:
            await trio.lowlevel.checkpoint()
        slots.held += 1
        trio.lowlevel.reschedule(waiting.pop())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(grant)
        with run.target():
            waiting.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(granted_slot_is_lost)
            await trio.lowlevel.checkpoint()  # too late to be safe: held already
            slots.held -= 1
        nursery.cancel_scope.cancel()
    assert slots.held == 0


def test_counting_the_whole_run_strikes_in_the_hand_over_gap() -> None:
    """Only ``Steps.RUN`` can strike while a value is on its way to the target."""
    with pytest.raises(ExplorationFailed, match="of all tasks"):
        explore(hand_over, counted=[Steps.RUN])


def test_a_socket_left_to_the_garbage_collector_is_found() -> None:
    """A ResourceWarning fails the run although no assertion does."""

    async def scenario(run: Run) -> None:
        with run.target():
            left = socket.socket()
            await trio.lowlevel.checkpoint()
            left.close()

    with pytest.raises(ExplorationFailed, match="unclosed <socket"):
        explore(scenario)


def test_a_descriptor_left_open_is_found() -> None:
    """Also when something still refers to it."""
    kept: list[socket.socket] = []

    async def scenario(run: Run) -> None:
        with run.target():
            kept.append(socket.socket())
            await trio.lowlevel.checkpoint()

    with pytest.raises(ExplorationFailed, match="1 file descriptors left open"):
        explore(scenario)
    kept.pop().close()


def test_a_hang_is_found_at_once() -> None:
    """Mock time runs out when nobody can run."""

    async def scenario(run: Run) -> None:
        with run.target():
            await trio.lowlevel.checkpoint()
        await trio.sleep_forever()

    with pytest.raises(ExplorationFailed, match="TooSlowError"):
        explore(scenario)


def test_an_action_can_do_anything_synchronous() -> None:
    """The scenario leaves on the stage what the action needs; an error of the action fails the run."""
    struck = 0

    def deliver(run: Run) -> None:
        nonlocal struck
        struck += 1
        run.stage.disconnected.set()

    async def scenario(run: Run) -> None:
        run.stage.disconnected = trio.Event()
        with run.target(), trio.move_on_after(5):
            await run.stage.disconnected.wait()

    assert explore(scenario, deliver).runs == struck + 2

    def fail(run: Run) -> None:
        raise RuntimeError("from the action")

    with pytest.raises(ExplorationFailed, match="from the action"):
        explore(scenario, fail)


def test_a_second_strike_hits_the_cleanup() -> None:
    """``again`` comes a few steps after the first: a cleanup that can be cut short is found by it alone."""

    def cut_cleanup(run: Run) -> None:
        if hasattr(run.stage, "cleanup"):
            run.stage.cleanup.cancel()

    async def scenario(run: Run) -> None:
        with run.target():
            try:
                await trio.sleep(1)
            finally:
                with trio.CancelScope(shield=True) as run.stage.cleanup:
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
        assert not run.stage.cleanup.cancelled_caught

    explore(scenario)
    with pytest.raises(ExplorationFailed, match="; then "):
        explore(scenario, again=cut_cleanup, gaps=(0, 1))


def test_the_same_seed_gives_the_same_steps() -> None:
    """Otherwise step k of one run is not step k of the next."""

    async def scenario(run: Run) -> None:
        order: list[int] = []

        async def note(number: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(number)

        with run.target():
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(note, number)
        orders.append(order)

    orders: list[list[int]] = []
    explore(scenario, do_nothing, counted=[Steps.RUN], seeds=(7,))
    assert all(order == orders[0] for order in orders)
