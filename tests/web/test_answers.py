"""From a relayed request to a response: ids, timing, and errors in the client's own dialect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.errors import BadRequest, QueueTimeout
from relay_trio.http import header
from relay_trio.ledger.row import LedgerRow
from relay_trio.vendors.claude.dialect import ClaudeDialect
from relay_trio.web.answers import error_answer, server_timing
from tests.support import scripts
from tests.support.client_requests import MemoryStream, make_request
from tests.support.memory_harness import KEY, open_harness

if TYPE_CHECKING:
    from quart import Response
    from trio.testing import MockClock

    from tests.support.memory_harness import UpstreamSide


def headers_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


# --- errors -------------------------------------------------------------------------------------------------------


def test_an_error_answer_has_length_ids_and_nothing_of_quarts() -> None:
    request = make_request(stream=MemoryStream(has_body=False))
    response = error_answer(ClaudeDialect(), BadRequest("no"), request)
    headers = headers_of(response)
    ours = {"request-id", "x-request-id", "x-relay-attempts", "server-timing"}
    assert set(headers) == {"content-type", "content-length", *ours}
    assert (headers["request-id"], headers["x-request-id"]) == (request.id, request.id)
    assert headers["content-type"] == "application/json"


def test_while_the_body_still_arrives_the_connection_is_closed_after_the_answer() -> None:
    """What else comes on it could be mistaken for the next request."""
    request = make_request()
    assert headers_of(error_answer(ClaudeDialect(), BadRequest("no"), request))["connection"] == "close"
    request.stream.deliver(b"", is_last=True)
    assert "connection" not in headers_of(error_answer(ClaudeDialect(), BadRequest("no"), request))


def test_how_long_to_wait_is_told_in_whole_seconds() -> None:
    response = error_answer(ClaudeDialect(), QueueTimeout("full", retry_after=0.2), make_request())
    assert headers_of(response)["retry-after"] == "1"


async def test_a_request_without_a_key_is_401_and_opens_no_row(autojump_clock: MockClock) -> None:
    """Strangers must not fill the ledger."""
    async with open_harness(scripts.streams) as harness:
        client = harness.request(credentials=())
        await client.run()
        assert client.status == 401
        error = json.loads(client.body)
        assert error["error"]["type"] == "authentication_error"
        headers = dict(client.sent[0]["headers"])
        assert error["request_id"] == headers[b"request-id"].decode() == headers[b"x-request-id"].decode()
        assert headers[b"x-relay-attempts"] == b"0"
        assert headers[b"server-timing"].startswith(b"total;dur=")
        assert not harness.ledger.opened
        harness.assert_at_rest()


@pytest.mark.parametrize("name", ["key", "api_key", "anything", ""])
@pytest.mark.parametrize("secret", [KEY, "%72" + KEY[1:]])
async def test_the_clients_secret_in_its_query_reaches_no_upstream(
    autojump_clock: MockClock, name: str, secret: str
) -> None:
    heads: list[bytes] = []

    async def script(side: UpstreamSide) -> None:
        heads.append(await side.request())
        raise trio.BrokenResourceError

    async with open_harness(script) as harness:
        client = harness.request(query=f"beta=true&{name}{'=' if name else ''}{secret}&limit=%c3+".encode())
        await client.run()
        assert client.status == 502
    assert heads
    for head in heads:
        assert head.startswith(b"POST /v1/messages?beta=true&limit=%c3+ HTTP/1.1\r\n")
        assert KEY.encode() not in head


async def test_an_error_after_the_last_attempt_has_all_that_an_answer_has(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.dies_before_the_head) as harness:
        client = harness.request()
        await client.run()
        assert client.status == 502
        headers = dict(client.sent[0]["headers"])
        assert headers[b"request-id"].decode() == harness.rows[0].request_id
        assert headers[b"x-relay-attempts"] == b"%d" % harness.rows[0].attempts
        assert b"queue;dur=" in headers[b"server-timing"]
        assert harness.rows[0].attempts > 0


async def test_an_error_after_the_head_of_the_request_still_has_the_clients_id(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        client = harness.request(b"[]", headers=[(b"x-request-id", b"mine-1")])
        await client.run()
        assert client.status == 400
        headers = client.sent[0]["headers"]
        assert header(headers, b"x-request-id") == b"mine-1"
        assert header(headers, b"request-id") == harness.rows[0].request_id.encode()
        assert harness.rows[0].client_request_id == "mine-1"


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stream_asks_proxies_to_hold_nothing_back(autojump_clock: MockClock, stream: bool) -> None:
    script = scripts.streams if stream else scripts.answers
    async with open_harness(script) as harness:
        client = await harness.serve(harness.request(stream=stream))
        headers = client.sent[0]["headers"]
        assert [value for name, value in headers if name == b"cache-control"] == [b"no-cache"] * stream
        assert header(headers, b"x-accel-buffering") == (b"no" if stream else None)


async def test_an_error_in_place_of_a_stream_is_no_stream(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.is_overloaded) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 529
        assert header(client.sent[0]["headers"], b"x-accel-buffering") is None


# --- the client's own id ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "kept"), [(b"trace-1.2_3", True), (b"<script>", False)])
async def test_a_clients_id_comes_back_and_is_in_the_row_or_ours_is(
    autojump_clock: MockClock, sent: bytes, kept: bool
) -> None:
    async with open_harness(scripts.answers) as harness:
        client = harness.request(stream=False, headers=[(b"x-request-id", sent)])
        await client.run()
        assert harness.rows[0].client_request_id == (sent.decode() if kept else "")
        expected = sent if kept else harness.rows[0].request_id.encode()
        assert header(client.sent[0]["headers"], b"x-request-id") == expected


async def test_the_same_id_twice_is_two_requests(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.answers) as harness:
        for _ in range(2):
            await harness.request(stream=False, headers=[(b"x-request-id", b"again")]).run()
        assert len({row.request_id for row in harness.rows}) == 2


# --- timing -------------------------------------------------------------------------------------------------------


def test_timing_tells_what_is_known_in_milliseconds() -> None:
    row = LedgerRow("r", "k", 0.0, "messages")
    assert server_timing(None, 0.31) == server_timing(row, 0.31) == b"total;dur=0.3"
    row.queue_ms, row.ttft_ms = 0.04, 1234.56
    assert server_timing(row, 1240) == b"queue;dur=0.0, ttfb;dur=1234.6, total;dur=1240.0"
    row.connect_ms = 7.0
    assert server_timing(row, 1240).startswith(b"queue;dur=0.0, connect;dur=7.0, ttfb;dur=1234.6, total")


async def test_the_pump_is_a_task_of_its_own_with_the_requests_id_in_its_name(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.is_silent) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        nursery.start_soon(client.run)
        await trio.testing.wait_all_tasks_blocked()
        (exchange,) = harness.core.live
        assert f"pump {exchange.row.request_id}" in names(trio.lowlevel.current_root_task())
        client.leave()


def names(task: trio.lowlevel.Task | None) -> list[str]:
    assert task is not None
    return [
        task.name,
        *(name for nursery in task.child_nurseries for child in nursery.child_tasks for name in names(child)),
    ]
