"""Upstreams that follow a script, over real sockets on port 0: what they read and send is written out in the test."""

from __future__ import annotations

import re
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from relay_trio.http import UpstreamRequest
from relay_trio.upstream.client import open_upstream_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from ssl import SSLContext
    from typing import Any

    from relay_trio.outcome import Phase
    from relay_trio.upstream.client import UpstreamClient

    Script = Callable[["ScriptedConnection"], Awaitable[None]]

LIMIT_SECONDS = 10.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class ScriptedConnection:
    """The upstream's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, transport: trio.SocketStream) -> None:
        self.stream = stream
        self.transport = transport
        self._unread = bytearray()

    async def read_head(self) -> bytes:
        """The next request's head, with the empty line; ``b""`` when the other side closed instead."""
        while b"\r\n\r\n" not in self._unread:
            data = await self.stream.receive_some()
            if not data:
                return b""
            self._unread += data
        return self._take(self._unread.index(b"\r\n\r\n") + 4)

    async def read_request(self) -> bytes:
        """The next request, head and body."""
        head = await self.read_head()
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        while len(self._unread) < size:
            self._unread += await self.stream.receive_some(1_000_000)
        return head + self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def wait_closed(self) -> None:
        """Return when the other side has closed or reset the connection."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass

    def reset(self) -> None:
        """Close with RST."""
        self.transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.socket.close()

    def close(self) -> None:
        """Close with FIN (with TLS: without close_notify)."""
        self.transport.socket.close()


class Upstream:
    """A listening upstream. ``accepted`` counts connections, ``requests`` are those its scripts noted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted = 0
        self.requests: list[bytes] = []
        self.host = "127.0.0.1"
        self.scheme = "http"

    def request(self, **changes: Any) -> UpstreamRequest:
        """A small POST to this upstream, with ``changes``."""
        fields: dict[str, Any] = {
            "method": "POST",
            "scheme": self.scheme,
            "host": self.host,
            "port": self.port,
            "target": b"/v1/messages",
            "headers": [(b"accept", b"*/*")],
            "body": b"{}",
        }
        return UpstreamRequest(**(fields | changes))


@asynccontextmanager
async def open_upstream(*scripts: Script, tls: SSLContext | None = None) -> AsyncIterator[Upstream]:
    """The n-th connection follows the n-th script, further ones the last. All under one limit of real time."""
    with trio.fail_after(LIMIT_SECONDS):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            upstream = Upstream(listener.socket.getsockname()[1])

            async def serve(transport: trio.SocketStream) -> None:
                script = scripts[min(upstream.accepted, len(scripts) - 1)]
                upstream.accepted += 1
                async with transport:
                    stream: trio.abc.Stream = transport
                    if tls is not None:
                        stream = trio.SSLStream(transport, tls, server_side=True, https_compatible=True)
                    await script(ScriptedConnection(stream, transport))

            if tls is not None:
                upstream.scheme, upstream.host = "https", "localhost"
            await nursery.start(trio.serve_listeners, serve, [listener])
            yield upstream
            nursery.cancel_scope.cancel()


def answering(
    *pieces: bytes, times: int = 1, then: Callable[[ScriptedConnection], None] = ScriptedConnection.close
) -> Script:
    """Read a request, send ``pieces`` one by one; ``times`` over, ``then`` end the connection."""

    async def script(connection: ScriptedConnection) -> None:
        for _ in range(times):
            if not await connection.read_request():
                return
            for piece in pieces:
                await connection.send(piece)
                await trio.sleep(0.005)
        then(connection)

    return script


def staying(*pieces: bytes, times: int = 1) -> Script:
    """As ``answering``, but the connection stays open until the client closes it."""
    follow = answering(*pieces, times=times, then=lambda connection: None)

    async def script(connection: ScriptedConnection) -> None:
        await follow(connection)
        await connection.wait_closed()

    return script


def ignore_phase(phase: Phase) -> None:
    """For tests that do not look at phases."""


async def body_of(client: UpstreamClient, request: UpstreamRequest) -> bytes:
    """One whole exchange."""
    async with client.open(request, ignore_phase) as response:
        body = b""
        while data := await response.receive_some():
            body += data
        return body


@asynccontextmanager
async def talking(
    *scripts: Script, tls: SSLContext | None = None, **settings: Any
) -> AsyncIterator[tuple[Upstream, UpstreamClient]]:
    """An upstream and a client; at the end no exchange may be left, and no connection in use."""
    async with open_upstream(*scripts, tls=tls) as upstream, open_upstream_client(**settings) as client:
        yield upstream, client
        statistics = client.statistics()
        assert statistics.calls == 0
        assert statistics.open_connections == statistics.idle_connections
