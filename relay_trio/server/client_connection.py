"""One connection's life: TLS, which protocol it speaks, and the barrier that keeps its errors inside it.

No exception of a connection leaves ``serve_connection``: one that escaped would cancel every other connection with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import trio

from relay_trio.errors import RelayError
from relay_trio.server.h2_frames import HTTP_1_1_REQUIRED, PREFACE, goaway_frame, settings_frame
from relay_trio.server.http1 import Http1Connection
from relay_trio.server.http2 import Http2Connection
from relay_trio.server.stream import make_scope
from relay_trio.server.transport import TlsTransport, Transport

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from relay_trio.server.limits import ConnectionLimits
    from relay_trio.server.stream import Application, Scope, ServerStream

Address = tuple[str, int]


class _Speaker(Protocol):
    """A connection whose protocol is known."""

    async def run(self) -> None: ...

    def begin_drain(self) -> None: ...


class RequestLine(Protocol):
    """What a scope needs to know of a request, whatever its protocol."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class ServerState:
    """What all connections of one server share. ``on_error`` hears of every exception that nobody expected."""

    app: Application
    limits: ConnectionLimits
    on_error: Callable[[BaseException], None]
    state: dict[str, Any] = field(default_factory=dict)
    is_draining: bool = False
    connections: set[ClientConnection] = field(default_factory=set)
    all_closed: trio.Event = field(default_factory=trio.Event)
    accepted: int = 0  # connections, ever
    contained: int = 0  # exceptions that would have ended a stock server

    def report(self, error: BaseException) -> None:
        """Tell ``on_error``, unless ``error`` is made of the relay's own errors: raising one is how a stream is cut."""
        if _is_ours(error):
            return
        self.contained += 1
        try:
            self.on_error(error)
        except Exception:  # the counter is all that is left to tell
            self.contained += 1


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_ours(member) for member in error.exceptions)
    return isinstance(error, RelayError)


class ConnectionContext:
    """Who is at the other end, and what both protocols need of the site."""

    __slots__ = ("_site", "client", "limits", "report", "scheme", "server")

    def __init__(self, site: ServerState, scheme: str, client: Address | None, server: Address | None) -> None:
        self._site = site
        self.limits = site.limits
        self.report = site.report
        self.scheme = scheme
        self.client = client
        self.server = server

    @property
    def is_draining(self) -> bool:
        return self._site.is_draining

    @property
    def linger_seconds(self) -> float:
        """How long a connection that we ended is read on, so that the client sees our last bytes."""
        return self.limits.drain_linger_seconds if self._site.is_draining else self.limits.linger_seconds

    async def run_application(self, scope: Scope, exchange: ServerStream) -> None:
        """Let the application answer a request; what goes wrong in it is reported, and ends nothing else.

        Cancelled: destroys, the response may be left in the middle.
        """
        try:
            await self._site.app(scope, exchange.receive, exchange.send)
        except Exception as error:
            self.report(error)
        except BaseExceptionGroup as group:
            _, rest = group.split(trio.Cancelled)
            if rest is None or not isinstance(rest, Exception):
                raise
            self.report(rest)

    def make_scope(self, exchange: ServerStream, http_version: str, request: RequestLine) -> Scope:
        """The ASGI scope of a request that this peer sent."""
        return make_scope(
            exchange,
            http_version=http_version,
            method=request.method,
            scheme=self.scheme,
            path=request.path,
            query=request.query,
            headers=request.headers,
            client=self.client,
            server=self.server,
            state=self._site.state,
        )


class ClientConnection:
    """One accepted socket, from accept to close."""

    def __init__(self, sock: socket.socket, site: ServerState, context: ssl.SSLContext | None) -> None:
        self._site = site
        self._limits = site.limits
        timeout = site.limits.write_timeout_seconds
        self._transport = TlsTransport(sock, timeout, context) if context else Transport(sock, timeout)
        self._peer = ConnectionContext(
            site, "https" if context else "http", _address(sock, is_peer=True), _address(sock)
        )
        self._opening = trio.CancelScope()
        self._speaker: _Speaker | None = None

    def begin_drain(self) -> None:
        """Close when idle; end after what is running otherwise."""
        if self._speaker is None:
            self._opening.cancel()
        else:
            self._speaker.begin_drain()

    async def run(self) -> None:
        """Serve the connection until it ends.

        Cancelled: destroys, the connection is closed and its requests are cancelled.
        """
        received = b""
        with self._opening:
            received = await self._open()
        if not received:
            return
        if not received.startswith(PREFACE):
            self._speaker = Http1Connection(self._transport, self._peer, received)
        elif self._limits.http2:
            self._speaker = Http2Connection(self._transport, self._peer, received)
        else:
            await self._refuse_http2()
            return
        await self._speaker.run()

    async def _open(self) -> bytes:
        """Shake hands and read until the protocol shows; ``b""`` when it never does. Cancelled: destroys."""
        if isinstance(self._transport, TlsTransport):
            self._opening.deadline = trio.current_time() + self._limits.handshake_timeout_seconds
            if not await self._transport.handshake():
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

        Cancelled: destroys.
        """
        self._transport.write_nowait(settings_frame() + goaway_frame(0, HTTP_1_1_REQUIRED))
        self._transport.write_eof()
        with trio.move_on_after(self._peer.linger_seconds):
            while True:
                await self._transport.wait_readable()
                if self._transport.read_nowait() == b"":
                    return

    def close(self) -> None:
        self._transport.close()


def _address(sock: socket.socket, is_peer: bool = False) -> Address | None:
    try:
        name = sock.getpeername() if is_peer else sock.getsockname()
    except OSError:
        return None  # gone already: the first read will say so
    return (name[0], name[1]) if isinstance(name, tuple) else None


def admit(sock: socket.socket, site: ServerState, context: ssl.SSLContext | None) -> ClientConnection:
    """Count an accepted socket as a connection of ``site``; ``serve_connection`` must follow."""
    connection = ClientConnection(sock, site, context)
    site.connections.add(connection)
    site.accepted += 1
    return connection


async def serve_connection(connection: ClientConnection, site: ServerState) -> None:
    """Own an admitted connection until it is closed; nothing but cancellation comes out of here.

    Cancelled: destroys, the connection is closed.
    """
    try:
        await connection.run()
    except* Exception as group:
        site.report(group)
    finally:
        connection.close()
        site.connections.discard(connection)
        if not site.connections:
            site.all_closed.set()
