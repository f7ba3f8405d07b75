"""One HTTP/1.1 connection: a task that reads for as long as it lives, and a task per request, one at a time.

::

    connection task                        reads; every arrival goes through ``_received``
    └─ request task                        the application; its sends go straight to the socket

The reader's task waits for the application in one place: when a request body is not taken, or much was sent ahead of
the answer. It owns no timer per request: one deadline is moved as the connection's state changes.

    HEAD        no request; the next head is awaited or arriving
    REQUEST     a request task runs; its body may still be arriving, what comes after it is kept for later
    LINGER      our last byte is out; whatever still arrives is thrown away, so that no RST eats the response
    CLOSED

A client that half-closes is gone, as in HAProxy's ``abortonclose``: nothing can tell it from one that left.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.server.http1_stream import Http1Stream
from relay_trio.server.request_body import BadRequestBody, ChunkedBody, SizedBody
from relay_trio.server.request_head import BadRequestHead, has_bare_line_feed, parse_request_head
from relay_trio.server.response_head import Framing, encode_refusal
from relay_trio.server.stream import DisconnectReason

if TYPE_CHECKING:
    from relay_trio.http import RequestHead
    from relay_trio.server.client_connection import ConnectionContext
    from relay_trio.server.request_body import RequestBody
    from relay_trio.server.transport import Transport

# How often a client is looked at while its body is not being read: its FIN is behind bytes that stay in the kernel.
PRESENCE_CHECK_SECONDS = 0.1


class _State(Enum):
    HEAD = auto()
    REQUEST = auto()
    LINGER = auto()
    CLOSED = auto()


class Http1Connection:
    """Serves the requests of one connection, the first of which may have begun in ``received``."""

    def __init__(self, transport: Transport, peer: ConnectionContext, received: bytes) -> None:
        self._transport = transport
        self._peer = peer
        self._limits = peer.limits
        self._state = _State.HEAD
        self._buffer = bytearray(received)  # bytes of requests that have not begun
        self._body: RequestBody | None = None  # of the current request, until its last byte has come
        self._body_ends_at = inf
        self._exchange: Http1Stream | None = None
        self._deadline = trio.current_time() + self._limits.head_timeout_seconds
        self._linger_ends_at = inf
        self._reading = trio.CancelScope()
        self._room = trio.Event()
        self._nursery: trio.Nursery

    # --- the connection task ---

    async def run(self) -> None:
        """Serve until the connection ends.

        Cancelled: destroys, the connection is closed and its request's task is cancelled with it.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                if self._buffer:
                    self._parse_head()
                while self._state is not _State.CLOSED:
                    with trio.CancelScope(deadline=self._deadline) as self._reading:
                        await self._read()
                    if self._reading.cancelled_caught and trio.current_time() >= self._deadline:
                        self._time_out()
        finally:
            self._close()

    async def _read(self) -> None:
        """Read until the connection is closed. Cancelled: atomic, what was read is dealt with."""
        transport = self._transport
        while self._state is not _State.CLOSED:
            await transport.wait_readable()
            received = transport.read_nowait()
            if received:
                self._received(received)
                if self._is_full:
                    await self._wait_for_room()
            elif received is not None:
                self._lose(DisconnectReason.STALLED if transport.has_stalled else DisconnectReason.LEFT)

    @property
    def _is_full(self) -> bool:
        """Whether the current request's body, or what the client sent ahead of its end, must wait in the kernel."""
        if self._state is not _State.REQUEST:
            return False
        body_bytes = 0 if self._exchange is None else self._exchange.body_bytes
        return body_bytes >= self._limits.max_body_buffer_bytes or len(self._buffer) > self._limits.max_pipelined_bytes

    async def _wait_for_room(self) -> None:
        """Read no more until the application took the body that is here, or is done. Cancelled: safe to retry."""
        exchange, stopped_at = self._exchange, trio.current_time()
        self._move_deadline(inf)  # the client is not late, we are
        while self._is_full:
            self._room = trio.Event()
            with trio.move_on_after(PRESENCE_CHECK_SECONDS):
                await self._room.wait()
            if self._transport.peer_has_left:
                self._lose(DisconnectReason.LEFT)
        if self._state is _State.REQUEST and self._exchange is exchange:
            self._body_ends_at += trio.current_time() - stopped_at
            self._expect_body()

    def make_room(self) -> None:
        """The application took what there was of the body."""
        self._room.set()

    def continue_was_sent(self) -> None:
        """The client's body is expected from now on."""
        self._expect_body()

    # --- arrivals ---

    def _received(self, data: bytes) -> None:
        if self._state is _State.LINGER:
            self._move_deadline(min(trio.current_time() + self._peer.linger_seconds, self._linger_ends_at))
            return
        if self._body is not None:
            data = self._received_body(self._body, data)
            if not data:
                return
        self._buffer += data
        if self._state is _State.HEAD:
            self._parse_head()

    def _received_body(self, body: RequestBody, data: bytes) -> bytes:
        """Take the body's part of ``data``; returns what comes after it."""
        try:
            content, rest = body.feed(data)
        except BadRequestBody as error:
            self._refuse(DisconnectReason.MISBEHAVED, 400, str(error))
            return b""
        if body.is_done:
            self._body = None
        if self._exchange is not None:
            self._exchange.deliver(content, body.is_done)
            self._expect_body()
        elif body.is_done:  # the rest of a body that nobody wanted
            self._buffer += rest
            self._next_request()
            return b""
        return rest

    def _expect_body(self) -> None:
        """Set the deadline of a request that is being served: none once its body is here."""
        if self._body is None or (self._exchange is not None and self._exchange.expects_continue):
            self._move_deadline(inf)
        else:
            self._move_deadline(min(trio.current_time() + self._limits.body_idle_timeout_seconds, self._body_ends_at))

    def _parse_head(self) -> None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: empty lines before a request are skipped
            del buffer[:2]
        if not buffer or buffer == b"\r":
            return
        if not 0x41 <= buffer[0] <= 0x5A:
            self._refuse(DisconnectReason.MISBEHAVED, 400, "a request begins with a method")
            return
        end = buffer.find(b"\r\n\r\n") + 4
        if end > self._limits.max_head_bytes or (end < 4 and len(buffer) >= self._limits.max_head_bytes):
            self._refuse(
                DisconnectReason.MISBEHAVED, 431, f"a request head may have {self._limits.max_head_bytes} bytes"
            )
        elif end >= 4:
            head = bytes(buffer[:end])
            del buffer[:end]
            try:
                request = parse_request_head(head, self._limits.max_head_fields)
            except BadRequestHead as error:
                self._refuse(DisconnectReason.MISBEHAVED, error.status, error.reason)
            else:
                self._start(request)
        elif has_bare_line_feed(buffer):
            self._refuse(DisconnectReason.MISBEHAVED, 400, "a line must end in CR LF")
        elif self._deadline > (soon := trio.current_time() + self._limits.head_timeout_seconds):
            self._move_deadline(soon)  # the idle wait is over, the head is arriving

    def _start(self, request: RequestHead) -> None:
        exchange = Http1Stream(self, self._transport, request, self._limits.continue_on_receive)
        self._exchange = exchange
        self._state = _State.REQUEST
        if request.has_body:
            self._body = ChunkedBody() if request.is_chunked else SizedBody(request.content_length or 0)
            self._body_ends_at = trio.current_time() + self._limits.body_total_timeout_seconds
        self._expect_body()
        scope = self._peer.make_scope(exchange, request.http_version, request)
        self._nursery.start_soon(self._run_request, exchange, scope)
        if self._body is not None and self._buffer:
            rest = bytes(self._buffer)
            self._buffer.clear()
            self._received(rest)

    # --- the request task ---

    async def _run_request(self, exchange: Http1Stream, scope: dict[str, Any]) -> None:
        """Run the application and see to the end of its response.

        Cancelled: destroys, a response that was not whole is cut.
        """
        try:
            await self._peer.run_application(scope, exchange)
            if exchange.is_complete:
                await self._transport.drain()  # only if the last send was cancelled while it waited
        finally:
            self._finish(exchange)

    def _finish(self, exchange: Http1Stream) -> None:
        """The application is done with the request: go on with the connection, or end it."""
        exchange.drop_body()
        self._room.set()
        if exchange is not self._exchange or self._state is not _State.REQUEST:
            return
        if not exchange.is_complete:
            if exchange.has_begun:
                exchange.abort()
            elif self._peer.is_draining:
                self._refuse(DisconnectReason.ABORTED, 503, "the server is shutting down")
            else:
                self._refuse(DisconnectReason.ABORTED, 500, "the request was not answered")
        elif not exchange.keep_alive or self._transport.unsent_bytes:
            self._linger()
        elif self._body is not None:  # _received_body goes on when the rest of the body has come
            self._exchange = None
            self._body_ends_at = min(self._body_ends_at, trio.current_time() + self._peer.linger_seconds)
            self._expect_body()
        else:
            self._next_request()

    def _next_request(self) -> None:
        self._exchange = None
        if self._peer.is_draining:
            self._linger()
            return
        self._state = _State.HEAD
        self._move_deadline(trio.current_time() + self._limits.keep_alive_timeout_seconds)
        if self._buffer:
            self._parse_head()

    # --- ends ---

    def begin_drain(self) -> None:
        """Close if no request is being read or answered; otherwise after it."""
        if self._state is _State.HEAD and not self._buffer:
            self._close()

    def _time_out(self) -> None:
        if self._state is _State.HEAD and self._buffer:
            self._refuse(DisconnectReason.LEFT, 408, "the request head did not arrive in time")
        elif self._state is _State.REQUEST and self._exchange is not None:
            self._refuse(DisconnectReason.BODY_TIMEOUT, 408, "the request body did not arrive in time")
        else:
            self._close()

    def lose_client(self, loss: DisconnectReason) -> None:
        """The transport or the application says that the client is to be given up."""
        self._lose(loss)

    def _lose(self, loss: DisconnectReason) -> None:
        if self._exchange is not None:
            self._exchange.lose(loss)
        self._close()

    def _refuse(self, loss: DisconnectReason, status: int, reason: str) -> None:
        """Answer in the application's stead if nothing was said yet, and end the connection."""
        exchange = self._exchange
        if exchange is not None:
            exchange.lose(loss)
            if exchange.has_begun:
                self.cut(exchange)
                return
        self._transport.write_nowait(encode_refusal(status, reason))
        self._linger()

    def cut(self, exchange: Http1Stream) -> None:
        """End the connection so that the response under way cannot be taken for whole.

        A framed response shows by itself that it is not; then what the client was sent still reaches it.
        """
        if exchange.framing is Framing.UNTIL_CLOSE or self._transport.unsent_bytes or not exchange.has_begun:
            self._transport.abort()
            self._close()
        else:
            self._linger()

    def _linger(self) -> None:
        self._state = _State.LINGER
        self._exchange = None
        self._body = None
        self._buffer.clear()
        self._transport.write_eof()
        now = trio.current_time()
        self._linger_ends_at = now + self._limits.linger_total_seconds
        self._move_deadline(now + self._peer.linger_seconds)

    def _close(self) -> None:
        self._state = _State.CLOSED
        self._room.set()
        self._transport.close()

    def _move_deadline(self, deadline: float) -> None:
        """Moving it back costs nothing: the scope expires as it was, finds that it is too early, and goes on."""
        self._deadline = deadline
        if deadline < self._reading.deadline:
            self._reading.deadline = deadline

    @property
    def wants_close(self) -> bool:
        """True when the response that begins now must be the connection's last."""
        if self._peer.is_draining or self._state is not _State.REQUEST:
            return True
        body, exchange = self._body, self._exchange
        if body is None or exchange is None:
            return False
        if exchange.expects_continue or body.remaining is None:
            return True  # it may never come, or never end
        return body.remaining > self._limits.max_discard_bytes
