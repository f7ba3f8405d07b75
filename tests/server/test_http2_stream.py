"""Flow control: a closed window holds the application back, and is not waited for for ever."""

from __future__ import annotations

import pytest
import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.context import REQUEST_KEY
from tests.server.h2_client import connect_h2
from tests.server.serving import open_server

pytestmark = pytest.mark.e2e  # sockets, and their limits in real time


async def test_a_closed_window_holds_the_application_back() -> None:
    with trio.fail_after(10):
        async with open_server() as served:
            client = await connect_h2(served, window=1000)
            stream = await client.request("/flood")
            await client.pump(lambda: len(client.body[stream]) == 1000)
            await trio.sleep(0.2)
            assert served.app.sent < 64 * 1024
            for _ in range(5):
                client.h2.increment_flow_control_window(50_000, stream)
                client.h2.increment_flow_control_window(50_000)
                await client.flush()
                before = len(client.body[stream])
                await client.pump(lambda before=before: len(client.body[stream]) >= before + 40_000)
            assert served.app.sent < 1000 + 5 * 50_000 + 64 * 1024


async def test_a_window_that_stays_closed_loses_the_stream_at_the_limit() -> None:
    with trio.fail_after(10):
        async with open_server(write_timeout_seconds=0.3) as served:
            client = await connect_h2(served, window=1000)
            started = trio.current_time()
            stream = await client.request("/flood")
            await client.pump(lambda: stream in client.reset)
            assert 0.2 < trio.current_time() - started < 1.0
            await served.app.until(lambda: bool(served.app.losses))
            assert served.app.losses[0][1] == DisconnectReason.STALLED
            assert (await client.get("/hello"))[0] == 200  # the connection lives


async def test_a_socket_that_is_not_read_loses_the_connection_at_the_limit() -> None:
    with trio.fail_after(10):
        async with open_server(write_timeout_seconds=0.5) as served:
            client = await connect_h2(served, rcvbuf=4096, window=2**30)
            client.h2.increment_flow_control_window(2**30)
            for _ in range(5):
                await client.request("/flood")
            started = trio.current_time()
            await served.app.until(lambda: len(served.app.losses) == 5)
            assert 0.3 < trio.current_time() - started < 2.0
            assert {loss for _, loss, _ in served.app.losses} == {DisconnectReason.STALLED}
            assert served.app.sent < 4_000_000


async def test_many_streams_share_one_small_buffer() -> None:
    """A client that does not read costs one frame of the connection, not one of every stream."""
    with trio.fail_after(10):
        async with open_server() as served:
            client = await connect_h2(served, rcvbuf=4096, window=2**30)
            client.h2.increment_flow_control_window(2**30)
            for _ in range(60):
                await client.request("/flood")
            await served.app.until(lambda: served.app.running == 60)
            await trio.sleep(0.3)
            transport = served.app.scopes[0][REQUEST_KEY].stream._transport
            assert 0 < transport.unsent_bytes < 64 * 1024


async def test_reset_frees_an_application_that_waits_for_the_window() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served, window=1000)
            stream = await client.request("/flood")
            await client.pump(lambda: len(client.body[stream]) == 1000)
            client.h2.reset_stream(stream)
            await client.flush()
            with trio.fail_after(0.25):
                await served.app.until(lambda: served.app.running == 0)
            assert served.app.losses[0][1] == DisconnectReason.LEFT


async def test_head_and_first_chunk_leave_together() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            stream = await client.request("/hello")
            await client.pump(lambda: stream in client.status)
            assert client.body[stream] == b"hello"


async def test_a_head_response_has_no_body() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            stream = await client.request("/hello", method="HEAD")
            await client.pump(lambda: stream in client.ended)
            assert (client.status[stream], client.body[stream]) == (200, b"")


async def test_continue_comes_when_the_body_is_asked_for() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            client = await connect_h2(served)
            assert await client.get("/echo", b"body", expect="100-continue") == (200, b"body")
