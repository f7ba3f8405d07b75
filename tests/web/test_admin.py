"""What operators reach: the invariants, the tasks, and nothing without the token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from relay_trio.web.admin import admin_app
from tests.support import scripts
from tests.support.memory_harness import KEY, Client, MemoryHarness, fetch, open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock

TOKEN = "admin-canary-token"


async def page(harness: MemoryHarness, path: str, *headers: tuple[bytes, bytes]) -> Client:
    return await fetch(admin_app(harness.core, harness.ring), path, headers=headers)


def with_token(**changes: Any) -> dict[str, Any]:
    return {"admin": {"token": TOKEN}, **changes}


# --- the token ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer wrong")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer " + TOKEN.encode() + b"x")],
        [(b"authorization", b"Basic " + TOKEN.encode())],
        [(b"authorization", "Bearer ä€".encode())],
        [(b"authorization", b"Bearer \xff")],
        [(b"x-api-key", TOKEN.encode())],
        [(b"authorization", b"Bearer " + KEY.encode())],
    ],
)
async def test_without_the_token_everything_but_health_is_401(
    autojump_clock: MockClock, headers: list[tuple[bytes, bytes]]
) -> None:
    async with open_harness(scripts.streams, **with_token()) as harness:
        for path in ("/debug/invariants", "/debug/tasks", "/no/such/path"):
            client = await page(harness, path, *headers)
            assert client.status == 401
            assert TOKEN not in client.body.decode()
        for path in ("/healthz", "/readyz"):
            assert (await page(harness, path, *headers)).status == 200


@pytest.mark.parametrize("path", ["/healthz/", "/healthz/../debug/invariants", "//debug/invariants", "/HEALTHZ"])
async def test_a_path_that_only_looks_like_health_opens_nothing(autojump_clock: MockClock, path: str) -> None:
    async with open_harness(scripts.streams, **with_token()) as harness:
        assert (await page(harness, path)).status in (401, 404)


async def test_with_the_token_they_answer(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams, **with_token()) as harness:
        for path in ("/debug/invariants", "/debug/tasks"):
            assert (await page(harness, path, (b"authorization", b"Bearer " + TOKEN.encode()))).status == 200


async def test_without_a_token_configured_they_answer_anyone(autojump_clock: MockClock) -> None:
    """The configuration allows that on loopback and unix sockets only."""
    async with open_harness(scripts.streams) as harness:
        assert (await page(harness, "/debug/invariants")).status == 200


async def test_no_relayed_route_is_on_the_admin_listener(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        client = harness.request()
        client.app = admin_app(harness.core, harness.ring)
        await client.run()
        assert client.status == 404
        assert not harness.rows


# --- what is true inside ------------------------------------------------------------------------------------------


async def test_the_invariants_are_json_and_hold_while_a_stream_runs(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams_slowly) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        nursery.start_soon(client.run)
        await trio.sleep(2.5)
        shown = json.loads((await page(harness, "/debug/invariants")).body)
        assert shown["ok"] is True
        assert shown["accounts"]["a"] == {"slots": 1, "attempts": 1, "max_concurrency": 1, "state": "ready"}
        assert shown["requests"] == {"live": 1, "by_phase": {"data": 1}, "rejected": {}}
        client.leave()


def test_the_tasks_name_each_pump_and_hold_no_secret() -> None:
    """In a run of its own: below pytest-trio's task the tree is hidden."""
    prompt = b'{"model": "m", "stream": true, "system": "canaryprompttext"}'

    async def check() -> None:
        async with open_harness(scripts.is_silent) as harness, trio.open_nursery() as nursery:
            client = harness.request(prompt)
            nursery.start_soon(client.run)
            await trio.testing.wait_all_tasks_blocked()
            (exchange,) = harness.core.live
            answer = await page(harness, "/debug/tasks")
            tree = answer.body.decode()
            assert dict(answer.sent[0]["headers"])[b"content-type"].startswith(b"text/plain")
            assert f"pump {exchange.row.request_id}" in tree
            for canary in ("canaryprompttext", KEY, "sk-a"):
                assert canary not in tree
            client.leave()

    trio.run(check)
