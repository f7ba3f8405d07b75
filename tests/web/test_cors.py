"""Browsers: preflights without a key, what pages may read, and nothing at all unless it is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.http import header
from tests.support import scripts
from tests.support.memory_harness import fetch, open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.memory_harness import Client

PAGE = b"https://app.example"
ON: dict[str, Any] = {"server": {"cors_origins": [PAGE.decode(), "http://localhost:3000"]}}


def preflight(origin: bytes, names: bytes = b"x-api-key, anthropic-version") -> list[tuple[bytes, bytes]]:
    return [
        (b"origin", origin),
        (b"access-control-request-method", b"POST"),
        (b"access-control-request-headers", names),
    ]


def of(client: Client, name: bytes) -> bytes | None:
    return header(client.sent[0]["headers"], name)


async def test_a_preflight_is_answered_without_a_key_and_without_a_row(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams, **ON) as harness:
        client = await fetch(harness.app, "/v1/messages", "OPTIONS", preflight(PAGE))
        assert (client.status, client.body) == (204, b"")
        assert of(client, b"access-control-allow-origin") == PAGE
        assert of(client, b"access-control-allow-headers") == b"x-api-key, anthropic-version"
        assert b"POST" in (of(client, b"access-control-allow-methods") or b"")
        assert of(client, b"access-control-allow-credentials") is None
        assert of(client, b"vary") == b"origin"
        assert not harness.ledger.opened


@pytest.mark.parametrize("origin", [b"https://other.example", b"null", b"*", b"", b"https://app.example.evil.example"])
async def test_another_page_gets_nothing_that_a_browser_would_accept(autojump_clock: MockClock, origin: bytes) -> None:
    async with open_harness(scripts.streams, **ON) as harness:
        client = await fetch(harness.app, "/v1/messages", "OPTIONS", preflight(origin))
        assert (client.status, of(client, b"access-control-allow-origin")) == (405, None)
        assert of(client, b"vary") == b"origin"


@pytest.mark.parametrize("script", [scripts.answers, scripts.is_overloaded])
async def test_a_page_may_read_ids_limits_and_errors(autojump_clock: MockClock, script: Any) -> None:
    async with open_harness(script, **ON) as harness:
        client = await harness.serve(harness.request(stream=False, headers=[(b"origin", PAGE)]))
        assert of(client, b"access-control-allow-origin") == PAGE
        exposed = (of(client, b"access-control-expose-headers") or b"").split(b", ")
        assert {b"request-id", b"x-request-id", b"x-relay-attempts"} <= set(exposed)
        assert (b"retry-after" in exposed) is (client.status == 529)
        assert b"content-type" not in exposed


async def test_a_refusal_can_be_read_too(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams, **ON) as harness:
        client = await harness.serve(harness.request(credentials=(), headers=[(b"origin", PAGE)]))
        assert (client.status, of(client, b"access-control-allow-origin")) == (401, PAGE)


async def test_names_that_are_none_are_not_repeated(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams, **ON) as harness:
        client = await fetch(harness.app, "/v1/messages", "OPTIONS", preflight(PAGE, b"x-a\x7f"))
        assert (client.status, of(client, b"access-control-allow-headers")) == (204, None)


async def test_without_origins_there_is_nothing_of_it(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.answers) as harness:
        client = await harness.serve(harness.request(stream=False, headers=[(b"origin", PAGE)]))
        names = [name for name, _ in client.sent[0]["headers"]]
        assert not any(name == b"vary" or name.startswith(b"access-control-") for name in names)
        assert (await fetch(harness.app, "/v1/messages", "OPTIONS", preflight(PAGE))).status == 405
