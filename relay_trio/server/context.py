"""What all connections of one server share, and what one connection knows of itself and its server.

Below everything that speaks a protocol, so that a protocol can hold these values and nothing holds a protocol back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from relay_trio.server.client_request import ClientRequest
    from relay_trio.server.limits import ConnectionLimits, SocketOptions

Application = Callable[..., Awaitable[None]]
"""An ASGI 3 application. Frameworks type scope and messages each in their own way."""

REQUEST_KEY = "relay.request"
"""Where an application finds the ``ClientRequest`` in its ASGI scope."""


class OpenConnection(Protocol):
    """What the server asks of a connection that it has admitted."""

    def begin_drain(self) -> None:
        """Close when idle; end after what is running otherwise."""


class ConnectionProtocol(OpenConnection, Protocol):
    """One connection, once its protocol is known: HTTP/1.1 or HTTP/2."""

    async def run(self) -> None:
        """Serve until the connection ends. Cancelled here: destroys."""


def nothing_is_expected(error: BaseException) -> bool:
    """For a server whose application raises nothing on purpose."""
    return False


def nobody_counts(reason: str) -> None:
    """For a server of which nobody counts the heads that it refused."""


@dataclass(slots=True)
class ServerState:
    """What all connections of one server share; made by the caller of ``serve``, for one run of it.

    ``on_error`` is given every exception that nobody expected. ``is_expected`` recognises the errors that the
    application raises on purpose, to cut a response: they are reported to nobody. ``on_bad_head`` is given the reason
    why a head was refused and never became a request; it must not raise.
    """

    app: Application
    limits: ConnectionLimits  # of connections that are accepted from now on; an open one keeps those it has
    on_error: Callable[[BaseException], None]
    is_expected: Callable[[BaseException], bool] = nothing_is_expected
    on_bad_head: Callable[[str], None] = nobody_counts
    listeners: Sequence[socket.socket] = ()
    is_draining: bool = False
    connections: set[OpenConnection] = field(default_factory=set)
    idle: dict[ConnectionProtocol, None] = field(default_factory=dict)  # between two requests, the longest first
    evicted: set[ConnectionProtocol] = field(default_factory=set)  # told to go, and not gone yet
    all_closed: trio.Event = field(default_factory=trio.Event)
    accepted: int = 0  # connections, ever
    contained: int = 0  # exceptions that would have ended a stock server

    def replace_limits(self, limits: ConnectionLimits, options: SocketOptions) -> None:
        """Let other limits, and other options of their sockets, count for connections that are accepted from now on."""
        self.limits = limits
        for sock in self.listeners:
            options.apply(sock)

    def has_room(self, max_connections: int) -> bool:
        """Whether another connection may be accepted: there are not too many, or one that is idle can go."""
        return bool(self.idle) or len(self.connections) - len(self.evicted) < max_connections

    def make_room(self, max_connections: int) -> None:
        """Close the connection that has been idle longest if there are too many now. Its client can open another; one
        that waits to be accepted has nothing."""
        if self.idle and len(self.connections) - len(self.evicted) > max_connections:
            longest = next(iter(self.idle))
            del self.idle[longest]
            self.evicted.add(longest)
            longest.begin_drain()

    def report(self, error: BaseException) -> None:
        """Give ``error`` to ``on_error``, unless all of it is expected."""
        if self._is_expected(error):
            return
        self.contained += 1
        try:
            self.on_error(error)
        except Exception:  # only the counter is left to say so
            self.contained += 1

    def _is_expected(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return all(self._is_expected(member) for member in error.exceptions)
        return self.is_expected(error)


class ConnectionContext:
    """What both protocols need of the server, and the ``scheme`` of their connection (``http`` or ``https``)."""

    __slots__ = ("_server", "limits", "on_bad_head", "report", "scheme")

    def __init__(self, server: ServerState, scheme: str) -> None:
        self._server = server
        self.limits = server.limits
        self.report = server.report
        self.on_bad_head = server.on_bad_head
        self.scheme = scheme

    @property
    def is_draining(self) -> bool:
        return self._server.is_draining

    def is_idle(self, connection: ConnectionProtocol) -> None:
        """``connection`` waits for its next request."""
        self._server.idle.setdefault(connection)

    def is_busy(self, connection: ConnectionProtocol) -> None:
        """A request of ``connection`` has begun to arrive, or the connection has ended."""
        self._server.idle.pop(connection, None)

    def has_ended(self, connection: ConnectionProtocol) -> None:
        """``connection`` is closed."""
        self.is_busy(connection)
        self._server.evicted.discard(connection)

    @property
    def linger_seconds(self) -> float:
        """How long a connection that we ended is read on, so that the client sees our last bytes."""
        return self.limits.drain_linger_seconds if self._server.is_draining else self.limits.linger_seconds

    async def run_application(self, request: ClientRequest) -> None:
        """Let the application answer a request; what goes wrong in it is reported, and ends nothing else.

        Cancelled here: destroys, the response may be left in the middle.
        """
        try:
            await self._server.app(asgi_scope(request), request.stream.receive, request.stream.send)
        except Exception as error:
            self.report(error)
        except BaseExceptionGroup as group:
            _, rest = group.split(trio.Cancelled)
            if rest is None or not isinstance(rest, Exception):
                raise
            self.report(rest)


def asgi_scope(request: ClientRequest) -> dict[str, Any]:
    """The ASGI scope of a request: what a framework routes by, and the request itself."""
    return {
        "type": "http",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": request.http_version,
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        REQUEST_KEY: request,
    }
