"""Every route of the Messages API: where it goes, and that the path goes upstream as it came."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.accounts import account
from tests.support.memory_harness import KEY, MemoryHarness, open_harness
from tests.support.scripts import MESSAGE

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.memory_harness import Client, Script, UpstreamSide


def recording(heads: list[bytes]) -> Script:
    async def script(side: UpstreamSide) -> None:
        heads.append(await side.request())
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(MESSAGE)
        await side.send(head, MESSAGE)

    return script


async def send(
    harness: MemoryHarness, method: str, path: str, raw_path: bytes | None = None, query: bytes = b""
) -> Client:
    """A request whose escapes are as given."""
    body = b'{"model": "m"}' if method == "POST" else b""
    client = harness.request(body, method=method, path=(raw_path or path.encode()).decode(), query=query)
    with trio.fail_after(1000):
        await client.run()
    return client


@pytest.mark.parametrize(
    ("method", "path", "route", "model"),
    [
        ("POST", "/v1/messages", "claude.messages", "m"),
        ("POST", "/v1/messages/count_tokens", "claude.count_tokens", "m"),
        ("GET", "/v1/models/claude-sonnet-4", "claude.models", "claude-sonnet-4"),
        ("GET", "/v1/models/anthropic/claude", "claude.models", "anthropic/claude"),
        ("POST", "/v1/messages/batches", "claude.batches", ""),
        ("GET", "/v1/messages/batches", "claude.batches", ""),
        ("GET", "/v1/messages/batches/msgbatch_1", "claude.batches", ""),
        ("DELETE", "/v1/messages/batches/msgbatch_1", "claude.batches", ""),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel", "claude.batches", ""),
        ("GET", "/v1/messages/batches/msgbatch_1/results", "claude.batches", ""),
    ],
)
async def test_each_route_is_relayed_under_its_name(
    autojump_clock: MockClock, method: str, path: str, route: str, model: str
) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads)) as harness:
        client = await send(harness, method, path)
        assert client.status == 200
        assert heads[-1].startswith(f"{method} {path} HTTP/1.1\r\n".encode())
        (row,) = harness.rows
        assert (row.route, row.model) == (route, model)
        harness.assert_at_rest()


async def test_path_and_query_go_upstream_as_they_came(autojump_clock: MockClock) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads)) as harness:
        await send(harness, "GET", "/v1/models/a-b", b"/v1/models/a%2Db", b"limit=1&after_id=%C3%A4+")
        assert heads[-1].startswith(b"GET /v1/models/a%2Db?limit=1&after_id=%C3%A4+ HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/v1/models/../files/file_1/content", b"/v1/models/../files/file_1/content"),
        ("/v1/models/../../v1/files", b"/v1/models/%2e%2e/%2E%2E/v1/files"),
        ("/v1/models/../messages/batches/b/results", b"/v1/models/..%2fmessages%2fbatches%2fb%2fresults"),
        ("/v1/messages/batches/..", b"/v1/messages/batches/%2e%2e"),
        ("/v1/messages/batches/./results", b"/v1/messages/batches/./results"),
    ],
)
async def test_a_path_that_climbs_is_not_relayed(autojump_clock: MockClock, path: str, raw_path: bytes) -> None:
    """The upstream (or a proxy before it) would resolve the dots and serve, with the account's credential, a route that
    this relay does not have: other clients' files, for one."""
    heads: list[bytes] = []
    async with open_harness(recording(heads)) as harness:
        client = await send(harness, "GET", path, raw_path)
        assert client.status in (400, 404)
        assert not heads


@pytest.mark.parametrize(
    "path", ["/v1/messages/", "/v1/message", "/v2/messages", "/v1/files", "/v1/messages/x/y/z", "/v1"]
)
async def test_what_is_no_route_is_404_in_dialect_and_reaches_nobody(autojump_clock: MockClock, path: str) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads)) as harness:
        client = await send(harness, "POST", path)
        assert client.status == 404
        assert b'"not_found_error"' in client.body
        assert not heads
        assert not harness.rows


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/messages"), ("PUT", "/v1/messages"), ("OPTIONS", "/v1/messages"), ("POST", "/v1/models")],
)
async def test_another_method_is_405_in_dialect(autojump_clock: MockClock, method: str, path: str) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads)) as harness:
        client = await send(harness, method, path)
        assert client.status == 405
        assert b'"invalid_request_error"' in client.body
        assert not heads


async def test_a_model_that_nobody_serves_is_not_found_and_those_that_are_served_are_named(
    autojump_clock: MockClock,
) -> None:
    """In the client's dialect, and only what its key may use."""
    key = [{"name": "test", "secret": KEY, "models": ["claude-opus-*", "gpt-*"]}]
    one = [account("one", "http://127.0.0.1:1000")]
    async with open_harness(recording([]), key=key, account=one) as harness:
        client = harness.request(b'{"model":"gpt-4.1"}')
        with trio.fail_after(1000):
            await client.run()
        assert client.status == 404
        error = json.loads(client.body)["error"]
        assert error["type"] == "not_found_error"
        assert '"gpt-4.1"; models served to this key: claude-opus-*' in error["message"]
