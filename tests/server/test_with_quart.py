"""The same server under Quart-trio as it comes, without what the relay's web layer repairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
from quart import Response, request
from quart_trio import QuartTrio

from relay_trio.errors import UpstreamTruncated
from relay_trio.outcome import DisconnectReason
from relay_trio.server.context import REQUEST_KEY
from tests.server.h2_client import connect_h2
from tests.server.serving import open_server
from tests.server.test_http1 import FRAMINGS, SEEN_WITHIN, WAYS, get, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from relay_trio.server.client_request import ClientRequest
    from tests.server.serving import Client

pytestmark = pytest.mark.e2e  # sockets, and their limits in real time


def the_request() -> ClientRequest:
    return request.scope[REQUEST_KEY]  # type: ignore[literal-required,no-any-return]


def make_app() -> QuartTrio:
    app = QuartTrio(__name__)
    app.config.update(RESPONSE_TIMEOUT=None, BODY_TIMEOUT=None, MAX_CONTENT_LENGTH=None)
    app.cancelled = []  # type: ignore[attr-defined]
    app.waiting = 0  # type: ignore[attr-defined]

    @app.route("/echo", methods=["GET", "POST"])
    async def echo() -> bytes:
        parts = []
        while part := await the_request().receive_body_some():
            parts.append(part)
        return b"".join(parts)

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.route("/wait", methods=["GET", "POST"])
    async def wait() -> str:
        app.waiting += 1  # type: ignore[attr-defined]
        try:
            await trio.sleep_forever()
        finally:
            app.waiting -= 1  # type: ignore[attr-defined]
            app.cancelled.append(the_request().disconnect_reason)  # type: ignore[attr-defined]
        raise AssertionError

    async def stream(count: int, failure: Exception | None) -> AsyncIterator[bytes]:
        app.waiting += 1  # type: ignore[attr-defined]
        try:
            for _ in range(count):
                yield b"first;"
                await trio.lowlevel.checkpoint()
            if failure is not None:
                raise failure
            await trio.sleep_forever() if count == 1 else None
        finally:
            app.waiting -= 1  # type: ignore[attr-defined]

    @app.get("/streamwait")
    async def streamwait() -> Response:
        return Response(stream(1, None))

    @app.get("/chunks")
    async def chunks() -> Response:
        return Response(stream(5, None))

    @app.get("/midway")
    async def midway() -> Response:
        return Response(stream(2, UpstreamTruncated("cut")))

    @app.post("/early")
    async def early() -> tuple[str, int]:
        return "no", 401

    return app


@pytest.mark.parametrize("tls", [False, True])
async def test_plain_and_streamed_answers(tls: bool) -> None:
    with trio.fail_after(10):
        async with open_server(make_app(), tls=tls) as served, await served.connect() as client:
            for _ in range(20):
                assert (await client.exchange(post(b"echo", b"body")))[::2] == (200, b"body")
                assert (await client.exchange(get(b"chunks")))[2] == b"first;" * 5
            http2 = await connect_h2(served)
            assert await http2.get("/echo", b"body") == (200, b"body")
            assert await http2.get("/chunks") == (200, b"first;" * 5)


@pytest.mark.parametrize("way", WAYS)
async def test_a_disconnect_cancels_the_request_in_every_framing(way: Callable[[Client], Awaitable[None]]) -> None:
    with trio.fail_after(20):
        app = make_app()
        async with open_server(app) as served:
            for name, data in FRAMINGS.items():
                async with await served.connect() as client:
                    await client.send(data)
                    if b"stream" in data:
                        await client.until(b"first;")
                    while app.waiting == 0:  # type: ignore[attr-defined]  # noqa: ASYNC110
                        await trio.sleep(0.001)
                    await way(client)
                    with trio.move_on_after(SEEN_WITHIN) as scope:
                        while app.waiting:  # type: ignore[attr-defined]  # noqa: ASYNC110
                            await trio.sleep(0.001)
                    assert not scope.cancelled_caught, name
            assert set(app.cancelled) == {DisconnectReason.LEFT}  # type: ignore[attr-defined]


async def test_connection_close_and_idle_close_work_under_quart() -> None:
    """The keep-alive echo (STACK 2.4): with stock parts neither ever happened."""
    with trio.fail_after(10):
        async with open_server(make_app(), keep_alive_timeout_seconds=0.2) as served:
            for data in (get(b"hello", b"Connection: close\r\n"), get(b"chunks", b"Connection: close\r\n")):
                async with await served.connect() as client:
                    await client.send(data)
                    assert b"connection: close" in await client.rest()
            for _ in range(10):
                async with await served.connect() as client:
                    await client.exchange(get(b"chunks"))
                    assert await client.rest() == b""


async def test_a_stream_that_fails_is_cut_and_reported_by_nobody() -> None:
    with trio.fail_after(5):
        async with open_server(make_app()) as served:
            async with await served.connect() as client:
                await client.send(get(b"midway"))
                assert (await client.rest()).endswith(b"first;\r\n")
            http2 = await connect_h2(served)
            await http2.get("/midway")
            assert http2.ended == set()


async def test_an_early_reply_never_hangs_the_next_request_under_quart() -> None:
    with trio.fail_after(20):
        async with open_server(make_app()) as served:
            for number in range(100):
                async with await served.connect() as client:
                    await client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
                    await trio.sleep((number % 4) * 0.001)
                    await client.send(b"hello")
                    assert (await client.response())[0] == 401
                    assert (await client.exchange(get()))[0] == 200
