"""The promises as a snapshot: true in every phase, and false the moment one count is tampered with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from relay_trio.observe import invariants
from relay_trio.observe.invariants import LARGEST_READ_BYTES, fd_count, snapshot
from relay_trio.observe.log import LOST_LINES
from relay_trio.relay.channel import CHANNEL_BYTES
from tests.support import scripts
from tests.support.memory_harness import MemoryHarness, open_harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


def broken(shown: dict[str, Any]) -> set[str]:
    """The numbers of the invariants that do not hold."""
    return {name.split()[0] for name, holds in shown["invariants"].items() if not holds}


async def test_at_rest_everything_holds_and_nothing_is_held(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams, accounts=2) as harness:
        shown: dict[str, Any] = snapshot(harness.core, harness.ring)
        assert shown["ok"] is True
        assert broken(shown) == set()
        assert list(shown["accounts"]) == ["a", "b"]
        assert shown["requests"] == {"live": 0, "by_phase": {}, "rejected": {}}
        assert (shown["observer_failures"], shown["unpriced"]) == (0, {})
        assert shown["queue"] == {"waiting": 0, "entered": 0, "granted": 0, "left": 0}
        ledger = {"open_rows": 0, "pending": 0, "written": 0, "failures": 0, "last_error": ""}
        assert shown["ledger"] == ledger
        assert shown["keys"] == {
            "working": len(harness.core.settings.key),
            "reads": 0,
            "failures": 0,
            "is_stale": False,
        }
        assert shown["log"] == {"lost_lines": LOST_LINES.count}
        assert shown["buffered_bytes"] == {"total": 0, "fullest_stream": 0}
        assert shown["upstream"] == {"calls": 0, "open_connections": 0, "idle_connections": 0}
        assert shown["tasks"] > 0
        json.dumps(shown, allow_nan=False)


async def test_a_disabled_account_and_an_endless_wait_are_still_json(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        harness.account("a").health.disable("401")
        shown: dict[str, Any] = snapshot(harness.core, harness.ring)
        assert shown["accounts"]["a"]["state"] == "auth_failed"
        json.dumps(shown, allow_nan=False)


async def test_it_holds_at_every_step_of_a_request_with_a_fail_over(autojump_clock: MockClock) -> None:
    """Taken between any two steps: a mismatch is never a race."""
    wrong: list[set[str]] = []
    harness: MemoryHarness

    class Watch(trio.abc.Instrument):
        is_on = False
        steps = 0

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if self.is_on:
                self.steps += 1
                shown: dict[str, Any] = snapshot(harness.core, harness.ring)
                if not shown["ok"]:
                    wrong.append(broken(shown))

    watch = Watch()
    async with open_harness(scripts.first_account_is_overloaded, accounts=2) as harness:
        trio.lowlevel.add_instrument(watch)
        watch.is_on = True
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(harness.request().run)
        watch.is_on = False
        trio.lowlevel.remove_instrument(watch)
    assert watch.steps > 50
    assert wrong == []


def leak_a_slot(harness: MemoryHarness) -> None:
    harness.slots._slots["a"].in_use += 1


def lose_a_slot(harness: MemoryHarness) -> None:
    harness.slots.give_back("a")


def forget_the_attempt(harness: MemoryHarness) -> None:
    for request in harness.core.live:
        request.attempt_account = None


def take_too_many(harness: MemoryHarness) -> None:
    for _ in range(5):
        harness.slots._slots["a"].in_use += 1


def lose_a_row(harness: MemoryHarness) -> None:
    harness.ledger.opened["nobody's"] = next(iter(harness.ledger.opened.values()))


def leak_a_call(harness: MemoryHarness) -> None:
    harness.upstream._calls += 1


def hoard_bytes(harness: MemoryHarness) -> None:
    for request in harness.core.live:
        request.response.held_bytes = CHANNEL_BYTES + LARGEST_READ_BYTES + 1


def lose_a_waiter(harness: MemoryHarness) -> None:
    harness.core.admission._entered += 1


@pytest.mark.parametrize(
    ("tamper", "numbers"),
    [
        (leak_a_slot, {"I1", "I2"}),
        (lose_a_slot, {"I1", "I5"}),
        (forget_the_attempt, {"I1"}),
        (take_too_many, {"I1", "I2"}),
        (lose_a_row, {"I3"}),
        (leak_a_call, {"I5"}),
        (hoard_bytes, {"I9"}),
        (lose_a_waiter, {"I12"}),
    ],
)
async def test_a_count_that_is_tampered_with_is_found(
    autojump_clock: MockClock, tamper: Callable[[MemoryHarness], None], numbers: set[str]
) -> None:
    """Each invariant can fail, and no other one with it by accident."""
    async with open_harness(scripts.streams_slowly) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        nursery.start_soon(client.run)
        await trio.sleep(2.5)
        assert snapshot(harness.core, harness.ring)["ok"] is True
        tamper(harness)
        shown: dict[str, Any] = snapshot(harness.core, harness.ring)
        assert shown["ok"] is False
        assert broken(shown) == numbers
        nursery.cancel_scope.cancel()
        if tamper is lose_a_slot:
            harness.slots._slots["a"].in_use += 1


async def test_a_full_stream_is_within_its_limit(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.floods) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        client.reads = trio.Event()
        nursery.start_soon(client.run)
        await trio.testing.wait_all_tasks_blocked()
        shown: dict[str, Any] = snapshot(harness.core, harness.ring)
        assert shown["ok"] is True
        assert CHANNEL_BYTES <= shown["buffered_bytes"]["fullest_stream"] <= CHANNEL_BYTES + LARGEST_READ_BYTES
        client.leave()


def test_where_the_system_does_not_tell_descriptors_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(invariants.os, "listdir", missing)
    assert fd_count() is None
