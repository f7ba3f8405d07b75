"""One connection's life: TLS, which protocol it speaks, and the barrier that keeps its errors inside it.

No exception of a connection leaves ``serve_connection``: one that escaped would cancel every other connection with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from relay_trio.net.tls import TlsTransport
from relay_trio.net.transport import SocketTransport
from relay_trio.server.context import ConnectionContext
from relay_trio.server.h2_frames import HTTP_1_1_REQUIRED, PREFACE, goaway_frame, settings_frame
from relay_trio.server.http1 import Http1Connection
from relay_trio.server.http2 import Http2Connection

if TYPE_CHECKING:
    import socket
    import ssl

    from relay_trio.net.transport import Transport
    from relay_trio.server.context import ConnectionProtocol, ServerState


class ClientConnection:
    """One accepted socket, from accept to close."""

    def __init__(self, sock: socket.socket, server: ServerState, tls: ssl.SSLContext | None) -> None:
        self._limits = server.limits
        timeout = server.limits.write_timeout_seconds
        plain = SocketTransport(sock, timeout)
        self._transport: Transport = TlsTransport(plain, tls) if tls else plain
        self._context = ConnectionContext(server, "https" if tls else "http")
        self._opening = trio.CancelScope()
        self._protocol: ConnectionProtocol | None = None

    def begin_drain(self) -> None:
        """Close when idle; end after what is running otherwise."""
        if self._protocol is None:
            self._opening.cancel()
        else:
            self._protocol.begin_drain()

    async def run(self) -> None:
        """Serve the connection until it ends.

        Cancelled here: destroys, the connection is closed and its requests are cancelled.
        """
        received = b""
        with self._opening:
            received = await self._open()
        if not received:
            return
        if not received.startswith(PREFACE):
            self._protocol = Http1Connection(self._transport, self._context, received)
        elif self._limits.http2:
            self._protocol = Http2Connection(self._transport, self._context, received)
        else:
            await self._refuse_http2()
            return
        await self._protocol.run()

    async def _open(self) -> bytes:
        """Shake hands and read until the protocol shows; ``b""`` when it never does. Cancelled here: destroys."""
        if isinstance(self._transport, TlsTransport):
            self._opening.deadline = trio.current_time() + self._limits.handshake_timeout_seconds
            try:
                await self._transport.handshake()
            except OSError:  # the client is gone, or its TLS is none that we know
                return b""
        self._opening.deadline = trio.current_time() + self._limits.head_timeout_seconds
        received = b""
        while True:
            await self._transport.wait_readable()
            data = self._transport.read_nowait()
            if data == b"":
                return b""
            received += data or b""
            if received and (len(received) >= len(PREFACE) or not PREFACE.startswith(received)):
                return received

    async def _refuse_http2(self) -> None:
        """Say why, in HTTP/2: an HTTP/1.1 answer or a bare close reads as silence in some clients.

        Cancelled here: destroys.
        """
        self._transport.write_nowait(settings_frame() + goaway_frame(0, HTTP_1_1_REQUIRED))
        self._transport.write_eof()
        with trio.move_on_after(self._context.linger_seconds):
            while True:
                await self._transport.wait_readable()
                if self._transport.read_nowait() == b"":
                    return

    def close(self) -> None:
        self._transport.close()


def admit(sock: socket.socket, server: ServerState, tls: ssl.SSLContext | None) -> ClientConnection:
    """Count an accepted socket as a connection of ``server``; ``serve_connection`` must follow."""
    connection = ClientConnection(sock, server, tls)
    server.connections.add(connection)
    server.accepted += 1
    return connection


async def serve_connection(connection: ClientConnection, server: ServerState) -> None:
    """Own an admitted connection until it is closed; nothing but cancellation comes out of here.

    Cancelled here: destroys, the connection is closed.
    """
    try:
        await connection.run()
    except* Exception as group:
        server.report(group)
    finally:
        connection.close()
        server.connections.discard(connection)
        if not server.connections:
            server.all_closed.set()
