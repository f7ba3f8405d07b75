"""The upstream edge as the relay sees it: open a call, read its answer, leave.

::

    open(request) ── idle connection? ──no──► connect ── TLS ──┐
                          │ yes                                ▼
                          └──► send, wait for the head ──► UpstreamResponse ──► leave: pool or close, never waiting
                                  │ died before any byte
                                  └──► once more, on a fresh connection

No cookies, no redirects, no environment, no HTTP/2. Deadlines belong to the caller.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import UpstreamClosed, UpstreamConnectError
from relay_trio.net.tls import TlsTransport
from relay_trio.net.transport import transport_over
from relay_trio.outcome import Phase
from relay_trio.upstream.connection_pool import IDLE_EXPIRY_SECONDS, MAX_IDLE, ConnectionPool
from relay_trio.upstream.egress import Egress, egress_of
from relay_trio.upstream.head_encoding import request_head
from relay_trio.upstream.http1 import UpstreamConnection, UpstreamResponse
from relay_trio.upstream.proxy import absolute_target, open_tunnel
from relay_trio.upstream.trust import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from relay_trio.http import UpstreamRequest
    from relay_trio.net.transport import Transport
    from relay_trio.settings.sections import UpstreamSettings
    from relay_trio.upstream.http1 import Origin

    OpenStream = Callable[[str, int], Awaitable[trio.abc.Stream]]

__all__ = ["UpstreamClient", "UpstreamResponse", "UpstreamStatistics", "open_upstream_client"]


@dataclass(frozen=True, slots=True)
class UpstreamStatistics:
    """``open_connections`` counts those in use, idle ones, and those that await the end of an answer that is complete
    (``ending_connections``); ``calls`` are in flight now. The rest only grows:
    ``stale_retries_total`` are requests that went out a second time because an idle connection had died."""

    open_connections: int
    idle_connections: int
    ending_connections: int
    calls: int
    opened_total: int
    reused_total: int
    stale_retries_total: int


class UpstreamClient:
    """All connections of one process to all upstreams. Made by ``open_upstream_client``."""

    def __init__(self, pool: ConnectionPool, egress: Egress, open_stream: OpenStream, nursery: trio.Nursery) -> None:
        """``nursery``: for connections that await the end of an answer."""
        self._pool = pool
        self._nursery = nursery
        self._egress = egress
        self._open_stream = open_stream
        self._calls = 0
        self._stale_retries_total = 0

    def open(self, request: UpstreamRequest, on_phase: Callable[[Phase], None]) -> UpstreamCall:
        """``async with client.open(request, on_phase) as response``: the head has come, the body is to be read.

        ``on_phase`` is called with CONNECTING when a connection is being opened, and with HEAD when one is in hand and
        the request is about to go out. Leaving the block closes the connection, or keeps it if the block ended without
        an exception after the whole answer had come; either way at once. After ``response.end_early`` the end of the
        body may come later: then the call is over, and the pool awaits that end.

        Raises (on entering):
            UpstreamConnectError: DNS, TCP, TLS or the proxy failed; nothing was sent.
            UpstreamClosed: the connection ended before the head was whole.
            UpstreamProtocolError: what came is not HTTP/1.1, or breaks a limit.
            RelayError: the request must not go on a wire.
        """
        return UpstreamCall(self, request, on_phase)

    def use(self, egress: Egress) -> None:
        """Open connections by ``egress`` from now on. Idle ones are closed; a call that has begun ends as it began."""
        self._egress = egress
        self._pool.close_idle()

    def statistics(self) -> UpstreamStatistics:
        """The state now."""
        return UpstreamStatistics(
            open_connections=self._pool.open_connections,
            idle_connections=self._pool.idle_connections,
            ending_connections=self._pool.ending_connections,
            calls=self._calls,
            opened_total=self._pool.opened_total,
            reused_total=self._pool.reused_total,
            stale_retries_total=self._stale_retries_total,
        )

    async def _connect(self, origin: Origin, egress: Egress) -> UpstreamConnection:
        """Open a connection, counted by the pool.

        Cancelled here: atomic.
        """
        scheme, host, port = origin
        address = (host, port) if egress.proxy is None else (egress.proxy.host, egress.proxy.port)
        try:
            transport: Transport = transport_over(await self._open_stream(*address))
        except (OSError, ValueError, trio.BrokenResourceError) as error:  # UnicodeError from IDNA is a ValueError
            detail = f"cannot connect to {address[0]}:{address[1]}: {_reason(error)}"
            raise UpstreamConnectError("the upstream cannot be reached", detail=detail) from error
        try:
            if scheme == "https":
                transport = await _secured(transport, origin, egress)
        except BaseException:
            transport.close()
            raise
        connection = UpstreamConnection(transport, origin)
        self._pool.opened(connection)
        return connection


def _reason(error: BaseException) -> str:
    """Why a connection could not be opened: what the system said of the address that was tried first."""
    while (cause := error.__cause__) is not None:
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # trio's own text holds the address as Python writes a tuple
    return getattr(error, "strerror", None) or str(error)


async def _secured(transport: Transport, origin: Origin, egress: Egress) -> Transport:
    """Cancelled here: destroys (``transport`` must be closed)."""
    if egress.proxy is not None:
        await open_tunnel(egress.proxy, transport, origin)
    context = egress.ssl_context or client_context()
    _, host, port = origin
    try:
        secure = TlsTransport(transport, context, server_hostname=host.partition("%")[0])
        await secure.handshake()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error
        detail = f"no TLS connection to {host}:{port}: {reason}"
        raise UpstreamConnectError("the upstream cannot be reached securely", detail=detail) from error
    return secure


class UpstreamCall:
    """One request and its answer, as a context manager whose exit never waits."""

    def __init__(self, client: UpstreamClient, request: UpstreamRequest, on_phase: Callable[[Phase], None]) -> None:
        self._client = client
        self._egress = client._egress
        self._request = request
        self._on_phase = on_phase
        self._connection: UpstreamConnection | None = None
        self._response: UpstreamResponse | None = None
        self.is_sent = False
        """Whether the whole request went out. Known when the call is over."""

    async def __aenter__(self) -> UpstreamResponse:
        """Cancelled here: atomic, except that the upstream may have read the request."""
        self._client._calls += 1
        try:
            self._response = await self._begin()
        except BaseException:
            self._end(is_usable=False)
            raise
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """No checkpoint: works the same in a cancelled scope. Cancelled here: atomic."""
        self._end(is_usable=kind is None)

    async def _begin(self) -> UpstreamResponse:
        """Cancelled here: destroys (``_end`` must follow)."""
        request, client = self._request, self._client
        origin = (request.scheme, request.host, request.port)
        head = self._head(origin)
        self._connection = client._pool.take(origin)
        if self._connection is not None:
            self._on_phase(Phase.HEAD)
            try:
                return await self._connection.call(request.method, head, request.body)
            except UpstreamClosed:
                # An idle connection dies without notice (measured: 96 of 300 POSTs when the upstream's idle timeout
                # meets the reuse interval). It went without a byte of an answer, so nothing was begun: once more.
                if self._connection.has_answered:
                    raise
            self._release(is_usable=False)
            client._stale_retries_total += 1
        self._on_phase(Phase.CONNECTING)
        self._connection = await client._connect(origin, self._egress)
        self._on_phase(Phase.HEAD)
        return await self._connection.call(request.method, head, request.body)

    def _head(self, origin: Origin) -> bytes:
        proxy, fields = self._egress.proxy, self._egress.fields
        if proxy is None or self._request.scheme == "https":
            return request_head(self._request, more=fields)
        return request_head(self._request, absolute_target(origin, self._request.target), fields + proxy.fields())

    def _end(self, *, is_usable: bool) -> None:
        self._client._calls -= 1
        is_ending = False
        if self._response is not None:
            is_ending = is_usable and self._response.is_ending
            self._response.detach()
        self._release(is_usable=is_usable, is_ending=is_ending)

    def _release(self, *, is_usable: bool, is_ending: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self.is_sent = connection.is_sent
        client = self._client
        if is_ending and not connection.read_end_nowait():
            client._nursery.start_soon(partial(client._pool.finish, connection, is_usable=self._is_current))
            return
        connection.end_answer()
        client._pool.release(connection, is_usable=is_usable and self._is_current())

    def _is_current(self) -> bool:
        return self._egress is self._client._egress


_DIRECT = Egress()


@asynccontextmanager
async def open_upstream_client(
    egress: Egress = _DIRECT,
    *,
    open_stream: OpenStream = trio.open_tcp_stream,
    max_idle: int = MAX_IDLE,
    idle_expiry_seconds: float = IDLE_EXPIRY_SECONDS,
) -> AsyncIterator[UpstreamClient]:
    """A client, with a task that closes idle connections as they expire; the rest is closed on leaving.

    ``open_stream(host, port)`` opens the plain connection; the default has happy eyeballs, and looks names up in trio's
    threads (40 at most).

    Cancelled here: atomic.
    """
    pool = ConnectionPool(max_idle, idle_expiry_seconds)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.sweep)
            try:
                yield UpstreamClient(pool, egress, open_stream, nursery)
            except Exception as error:
                failure = error
            finally:
                pool.close()
                nursery.cancel_scope.cancel()
    finally:
        if failure is not None:
            raise failure  # as it is: not in the nursery's group, and not lost to a cancellation that came meanwhile


def open_client(settings: UpstreamSettings) -> AbstractAsyncContextManager[UpstreamClient]:
    """The client towards upstreams: the configured trust and proxy, in place of the system's store and none."""
    return open_upstream_client(egress_of(settings))
