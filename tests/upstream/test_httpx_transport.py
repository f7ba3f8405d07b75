"""The httpx face: the same connections, httpx's own errors and timeouts."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from relay_trio.upstream.httpx_transport import TrioTransport
from tests.support.upstream_scripts import OK, ScriptedConnection, answering, staying, talking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay_trio.upstream.client import UpstreamClient
    from tests.support.upstream_scripts import Script, Upstream

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def httpx_talking(
    *scripts: Script, timeout: float = 5
) -> AsyncIterator[tuple[Upstream, UpstreamClient, httpx2.AsyncClient]]:
    async with talking(*scripts) as (upstream, client):
        base_url = f"http://127.0.0.1:{upstream.port}"
        async with httpx2.AsyncClient(transport=TrioTransport(client), base_url=base_url, timeout=timeout) as http:
            yield upstream, client, http


async def test_an_async_client_works_over_it() -> None:
    """Request, answer, and the connection goes back."""
    heads = []

    async def script(connection: ScriptedConnection) -> None:
        heads.append(await connection.read_request())
        await connection.send(OK)
        await staying(OK)(connection)

    async with httpx_talking(script) as (upstream, client, http):
        for _ in range(2):
            answer = await http.post("/a%2Fb?c=d", content=b"body", headers={"x-one": "1"})
            assert (answer.status_code, answer.text) == (200, "hello")
        assert upstream.accepted == 1
        assert client.statistics().idle_connections == 1
    assert heads[0].startswith(b"POST /a%2Fb?c=d HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-one: 1\r\n" in heads[0]
    assert heads[0].count(b"content-length") == heads[0].lower().count(b"host:") == 1


async def test_a_stream_left_early_closes_its_connection() -> None:
    """As with the relay's own way of asking."""
    async with httpx_talking(staying(CHUNKED, b"5\r\nhello\r\n")) as (_, client, http):
        async with http.stream("GET", "/") as answer, aclosing(answer.aiter_raw()) as body:
            assert await anext(body) == b"hello"
        assert client.statistics().open_connections == 0


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (answering(), httpx2.RemoteProtocolError),
        (answering(b"junk\r\n"), httpx2.RemoteProtocolError),
        (answering(CHUNKED + b"5\r\nhel"), httpx2.RemoteProtocolError),
        (staying(), httpx2.ReadTimeout),
        (staying(CHUNKED + b"5\r\nhel"), httpx2.ReadTimeout),
    ],
    ids=["closes", "junk", "cut", "silent", "stalls"],
)
async def test_faults_are_httpx_errors(script: Script, error: type[Exception]) -> None:
    """Nothing of the relay's own error tree comes out."""
    async with httpx_talking(script, timeout=0.1) as (_, client, http):
        with pytest.raises(error):
            await http.get("/")
        assert client.statistics().open_connections == 0


async def test_a_refused_connection_is_a_connect_error() -> None:
    """Before anything was sent."""
    async with httpx_talking(staying()) as (_, _, http):
        with pytest.raises(httpx2.ConnectError):
            await http.get("http://127.0.0.1:1/")


async def test_a_request_that_must_not_go_out_is_a_local_error() -> None:
    """httpx lets some of them pass."""
    async with httpx_talking(staying()) as (_, _, http):
        with pytest.raises(httpx2.LocalProtocolError):
            await http.request("GE T", "/")
