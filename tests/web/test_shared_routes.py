"""One path, two APIs: the client's headers say which list of models it gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gemini_scripts import accounts
from tests.support.memory_harness import KEY, open_harness
from tests.vendors.gemini.test_routes import LIST, lists, send

if TYPE_CHECKING:
    from trio.testing import MockClock

GOOGLE = (b"x-goog-api-key", KEY.encode())
CLAUDE = (b"x-api-key", KEY.encode())
BEARER = (b"authorization", f"Bearer {KEY}".encode())
VERSION = (b"anthropic-version", b"2026-10-21")

BOTH: dict[str, Any] = {
    "account": [
        *accounts()["account"][:1],
        {
            "name": "c",
            "provider": "anthropic",
            "api_key": "sk-c",
            "base_url": "http://127.0.0.1:1001",
            "max_concurrency": 1,
            "models": ["*"],
        },
    ]
}


@pytest.mark.parametrize(
    ("headers", "query", "dialect"),
    [
        ((GOOGLE,), "", "gemini"),
        ((GOOGLE, VERSION), "", "gemini"),
        ((), f"key={KEY}", "gemini"),
        ((CLAUDE, VERSION), "", "claude"),
        ((BEARER, VERSION), "", "claude"),
        ((BEARER,), "", "claude"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x-1"])
async def test_the_clients_own_headers_choose(
    autojump_clock: MockClock, headers: tuple[tuple[bytes, bytes], ...], query: str, dialect: str, path: str
) -> None:
    async with open_harness(lists({}), **BOTH) as harness:
        client = await send(harness, path, method="GET", headers=headers, query=query)
        assert client.status == 200
        assert [row.route.partition(".")[0] for row in harness.rows] == [dialect]


@pytest.mark.parametrize(
    ("headers", "pool", "status"),
    [
        ((GOOGLE,), {}, b'"NOT_FOUND"'),
        ((CLAUDE,), accounts(), b'"not_found_error"'),
    ],
)
async def test_without_an_account_there_it_is_404_in_its_dialect(
    autojump_clock: MockClock, headers: tuple[tuple[bytes, bytes], ...], pool: dict[str, Any], status: bytes
) -> None:
    async with open_harness(lists(LIST), **pool) as harness:
        client = await send(harness, "/v1/models", method="GET", headers=headers)
        assert client.status == 404
        assert status in client.body


async def test_claudes_list_holds_what_the_pool_serves_too(autojump_clock: MockClock) -> None:
    document = {"data": [{"id": "claude-a"}, {"id": "claude-b"}], "has_more": False}
    pool = {"account": [BOTH["account"][1] | {"models": ["*-a"]}]}
    async with open_harness(lists(document), **pool) as harness:
        client = await send(harness, "/v1/models", method="GET", headers=(CLAUDE,))
        ids = {"first_id": "claude-a", "last_id": "claude-a"}
        assert json.loads(client.body) == {"data": [{"id": "claude-a"}], "has_more": False, **ids}


async def test_a_path_that_climbs_is_not_relayed_in_either(autojump_clock: MockClock) -> None:
    async with open_harness(lists({}), **BOTH) as harness:
        for headers in ((CLAUDE,), (GOOGLE,)):
            client = await send(harness, "/v1/models/../files", method="GET", headers=headers)
            assert client.status in (400, 404)
        assert not any(row.attempts for row in harness.rows)
