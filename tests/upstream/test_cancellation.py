"""A cancel after every step of an exchange: nothing stays open, nothing used is used again.

In memory (connect, TLS, send, head, body, end, reuse) and over real sockets, where the connect is trio's own.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import trustme

from relay_trio.errors import UpstreamError
from relay_trio.http import UpstreamRequest
from relay_trio.upstream.client import open_upstream_client
from relay_trio.upstream.egress import Egress
from relay_trio.upstream.trust import client_context
from tests.explorer import Run, Steps, explore
from tests.support.upstream_scripts import OK, ignore_phase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay_trio.upstream.client import UpstreamClient

AUTHORITY = trustme.CA()
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class MemoryUpstream:
    """Answers each request with ``pieces``; ``open`` connections are those that it does not know to be closed."""

    def __init__(self, nursery: trio.Nursery, *pieces: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.opened = 0
        self.open = 0
        self.answered: list[int] = []
        self.ends: list[trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]] = []
        self._nursery = nursery
        self._pieces = pieces
        self._tls = tls

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        """Ends as real I/O does: the connection is made, then the task is rescheduled."""
        await trio.lowlevel.checkpoint()
        near, far = trio.testing.memory_stream_pair()
        self.opened += 1
        self.open += 1
        self.ends.append(far)
        self._nursery.start_soon(self._serve, far, self.opened)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return near

    async def _serve(self, transport: trio.StapledStream, number: int) -> None:  # type: ignore[type-arg]
        stream: trio.abc.Stream = transport
        if self._tls is not None:
            stream = trio.SSLStream(transport, self._tls, server_side=True, https_compatible=True)
        unread = b""
        try:
            while True:
                while b"{}" not in unread:
                    data = await stream.receive_some()
                    if not data:
                        return
                    unread += data
                unread = unread.partition(b"{}")[2]
                for piece in self._pieces:
                    await stream.send_all(piece)
                self.answered.append(number)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1


@asynccontextmanager
async def memory_upstream(
    *pieces: bytes, tls: ssl.SSLContext | None = None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[MemoryUpstream, UpstreamClient]]:
    """An upstream in memory and a client to it; afterwards both agree that nothing is left."""
    async with trio.open_nursery() as nursery:
        upstream = MemoryUpstream(nursery, *pieces, tls=tls)
        async with open_upstream_client(Egress(trust), open_stream=upstream.open_stream) as client:
            yield upstream, client
            await nothing_is_left(upstream, client)
        assert client.statistics().open_connections == 0
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.open == 0
        nursery.cancel_scope.cancel()


async def nothing_is_left(upstream: MemoryUpstream, client: UpstreamClient) -> None:
    statistics = client.statistics()
    assert statistics.calls == 0
    assert statistics.open_connections == statistics.idle_connections
    await trio.testing.wait_all_tasks_blocked()
    assert upstream.open <= statistics.idle_connections, "the upstream sees at once what is closed"


def request(scheme: str = "http", *, size: int = 0, port: int = 1000) -> UpstreamRequest:
    return UpstreamRequest("POST", scheme, "localhost", port, b"/", [], b"x" * size + b"{}")


async def read_all(client: UpstreamClient, wanted: UpstreamRequest) -> bytes:
    body = b""
    async with client.open(wanted, ignore_phase) as response:
        while data := await response.receive_some():
            body += data
    return body


@pytest.mark.parametrize("size", [0, 100_000], ids=["small request", "watched request"])
@pytest.mark.parametrize(
    "pieces",
    [
        (OK,),
        (CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 100 C\r\n\r\n", CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["one piece", "three pieces", "interim"],
)
def test_a_cancel_anywhere_in_an_exchange_leaves_nothing(pieces: tuple[bytes, ...], size: int) -> None:
    """Connect, send, head, body, end, and the same again on the reused connection; the next exchange is sound."""

    async def scenario(run: Run) -> None:
        async with memory_upstream(*pieces) as (upstream, client):
            with run.target():
                for _ in range(2):
                    assert await read_all(client, request(size=size)) == b"hello"
            await nothing_is_left(upstream, client)
            before = client.statistics().idle_connections
            assert await read_all(client, request(size=size)) == b"hello"
            assert client.statistics().opened_total == upstream.opened
            assert client.statistics().reused_total >= before

    assert explore(scenario, seeds=(0, 1)).steps > 8


@pytest.mark.parametrize("size", [0, 100_000], ids=["small request", "watched request"])
def test_a_cancel_anywhere_in_a_tls_exchange_leaves_nothing(size: int, tmp_path: Path) -> None:
    """The handshake too: half of httpx's cancelled TLS connects leave the socket to the garbage collector."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    trust = client_context(str(tmp_path / "ca.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(server)

    async def scenario(run: Run) -> None:
        async with memory_upstream(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n", tls=server, trust=trust) as (upstream, client):
            with run.target():
                for _ in range(2):
                    assert await read_all(client, request("https", size=size)) == b"hello"
            await nothing_is_left(upstream, client)
            assert await read_all(client, request("https")) == b"hello"

    assert explore(scenario, counted=[Steps.RUN], seeds=(0, 1)).steps > 20


def test_an_exchange_that_was_cancelled_is_never_followed_by_another_on_its_connection() -> None:
    """Unless it had ended by itself before."""

    async def scenario(run: Run) -> None:
        async with memory_upstream(CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n") as (upstream, client):
            has_ended = False
            with run.target():
                async with client.open(request(), ignore_phase) as response:
                    while await response.receive_some():
                        pass
                has_ended = True
            assert client.statistics().idle_connections == int(has_ended)
            await read_all(client, request())
            assert upstream.answered[-1] == (1 if has_ended else upstream.opened)

    explore(scenario)


@pytest.mark.parametrize("size", [0, 100_000], ids=["small request", "watched request"])
def test_a_cut_by_the_upstream_at_any_step_is_a_whole_answer_or_our_error(size: int) -> None:
    """The other action: not a cancel, the connection is closed from the far side. Nothing hangs, nothing else comes."""

    def cut(run: Run) -> None:
        for far in run.stage.upstream.ends:
            far.send_stream.close()
            far.receive_stream.close()

    async def scenario(run: Run) -> None:
        async with memory_upstream(CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n") as (upstream, client):
            run.stage.upstream = upstream
            bodies = []
            with run.target(), trio.fail_after(1):
                for _ in range(2):
                    try:
                        bodies.append(await read_all(client, request(size=size)))
                    except UpstreamError:
                        assert run.is_struck
            assert bodies in ([b"hello"], [b"hello", b"hello"])

    assert explore(scenario, cut, counted=[Steps.RUN], seeds=(0, 1)).steps > 8


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cancel_anywhere_over_real_sockets_leaves_nothing(scheme: str, tmp_path: Path) -> None:
    """The same with trio's own connect (happy eyeballs, two addresses) and the kernel between."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    trust = client_context(str(tmp_path / "ca.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(server)

    async def scenario(run: Run) -> None:
        async def serve(transport: trio.SocketStream) -> None:
            async with transport:
                stream: trio.abc.Stream = transport
                if scheme == "https":
                    stream = trio.SSLStream(transport, server, server_side=True, https_compatible=True)
                try:
                    while b"{}" in await stream.receive_some():
                        await stream.send_all(CHUNKED + b"5\r\nhello\r\n")
                        await stream.send_all(b"0\r\n\r\n")
                except trio.BrokenResourceError:
                    pass

        async with trio.open_nursery() as nursery, open_upstream_client(Egress(trust)) as client:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            with run.target():
                for _ in range(2):
                    assert await read_all(client, request(scheme, port=port)) == b"hello"
            statistics = client.statistics()
            assert statistics.calls == 0
            assert statistics.open_connections == statistics.idle_connections
            assert await read_all(client, request(scheme, port=port)) == b"hello"
            nursery.cancel_scope.cancel()

    assert explore(scenario, counted=[Steps.RUN], autojump_threshold=0.05).steps > 8
