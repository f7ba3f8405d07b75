"""Alive, and ready for new work: one reason at a time, from a closed list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from relay_trio.ledger.writer import LedgerStatistics
from relay_trio.web.admin import admin_app
from relay_trio.web.healthz import as_json, unready_reason
from tests.support import scripts
from tests.support.memory_harness import MemoryHarness, MemoryLedger, fetch, open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock


def stop(harness: MemoryHarness) -> None:
    harness.core.live.stop()


def disable_all(harness: MemoryHarness) -> None:
    for account in harness.core.pool.accounts:
        account.health.disable("the upstream answered 401")


def fill_the_ledger(harness: MemoryHarness) -> None:
    class Full(MemoryLedger):
        def statistics(self) -> LedgerStatistics:
            return LedgerStatistics(0, 10_000, 0, 1, "disk full", False)

    harness.core.live._ledger = Full()  # type: ignore[assignment]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_both_listeners_say_alive_and_ready(autojump_clock: MockClock, method: str) -> None:
    async with open_harness(scripts.streams) as harness:
        for app in (harness.app, admin_app(harness.core, harness.ring)):
            for path in ("/healthz", "/readyz"):
                assert (await fetch(app, path, method)).status == 200
        assert unready_reason(harness.core) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [(stop, "draining"), (disable_all, "no_usable_account"), (fill_the_ledger, "ledger_full")],
)
async def test_a_relay_that_should_get_no_work_says_why_and_stays_alive(
    autojump_clock: MockClock, change: object, reason: str
) -> None:
    async with open_harness(scripts.streams, accounts=2) as harness:
        change(harness)  # type: ignore[operator]
        client = await fetch(harness.app, "/readyz")
        assert (client.status, json.loads(client.body)) == (503, {"status": "unready", "reason": reason})
        assert (await fetch(harness.app, "/healthz")).status == 200


async def test_one_usable_account_is_enough_and_a_cool_down_is_no_reason(autojump_clock: MockClock) -> None:
    """Requests wait for it: another relay would have the same accounts."""
    async with open_harness(scripts.streams, accounts=2) as harness:
        harness.account("a").health.disable("401")
        harness.account("b").health.cool_down(0, 100, "429")
        assert unready_reason(harness.core) is None


async def test_a_stop_is_the_first_of_several_reasons(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        disable_all(harness)
        stop(harness)
        assert unready_reason(harness.core) == "draining"


async def test_json_ends_with_a_line_break_and_says_what_it_is() -> None:
    response = as_json({"a": 1}, status=503)
    assert (response.status_code, response.content_type) == (503, "application/json")
    assert await response.get_data() == b'{\n  "a": 1\n}\n'
