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

A client that half-closes is gone, as in HAProxy's ``abortonclose``: nothing distinguishes it from one that left.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.client_request import ClientRequest
from relay_trio.server.request_body import BadRequestBody, ChunkedBody, SizedBody
from relay_trio.server.request_head import BadRequestHead, has_bare_line_feed, parse_request_head
from relay_trio.server.response_head import (
    BadResponse,
    Framing,
    check_fields,
    encode_refusal,
    encode_response_head,
    forbids_body,
)
from relay_trio.server.stream import SEND_BYTES, ServerStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.net.transport import Transport
    from relay_trio.server.context import ConnectionContext
    from relay_trio.server.request_body import RequestBody
    from relay_trio.server.request_head import RequestHead

PRESENCE_CHECK_SECONDS = 0.1
"""How often a client is looked at while its body is not being read: its FIN is behind bytes that stay in the kernel."""


class _State(Enum):
    HEAD = auto()
    REQUEST = auto()
    LINGER = auto()
    CLOSED = auto()


class Http1Connection:
    """Serves the requests of one connection, the first of which may have begun in ``received``."""

    def __init__(self, transport: Transport, context: ConnectionContext, received: bytes) -> None:
        self._transport = transport
        self._context = context
        self._limits = context.limits
        self._state = _State.HEAD
        self._buffer = bytearray(received)  # bytes of requests that have not begun
        self._body: RequestBody | None = None  # of the current request, until its last byte has come
        self._body_ends_at = inf
        self._stream: Http1Stream | None = None
        self._deadline = trio.current_time() + self._limits.head_timeout_seconds
        self._linger_ends_at = inf
        self._reading = trio.CancelScope()
        self._room = trio.Event()
        self._nursery: trio.Nursery

    # --- the connection task ---

    async def run(self) -> None:
        """Serve until the connection ends.

        Cancelled here: destroys, the connection is closed and its request's task is cancelled with it.
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
            self._context.has_ended(self)

    async def _read(self) -> None:
        """Read until the connection is closed. Cancelled here: atomic, what was read is dealt with."""
        transport = self._transport
        while self._state is not _State.CLOSED:
            await transport.wait_readable()
            received = transport.read_nowait()
            if received:
                self._received(received)
                if self._is_full:
                    await self._wait_for_room()
            elif received is not None:
                self.lose_client(DisconnectReason.STALLED if transport.has_stalled else DisconnectReason.LEFT)

    @property
    def _is_full(self) -> bool:
        """Whether the current request's body, or what the client sent ahead of its end, must wait in the kernel."""
        if self._state is not _State.REQUEST:
            return False
        body_bytes = 0 if self._stream is None else self._stream.body_bytes
        return body_bytes >= self._limits.max_body_buffer_bytes or len(self._buffer) > self._limits.max_pipelined_bytes

    async def _wait_for_room(self) -> None:
        """Read no more until the application took the body that is here, or is done. Cancelled here: safe to retry."""
        stream, stopped_at = self._stream, trio.current_time()
        self._move_deadline(inf)  # the client is not late, we are
        while self._is_full:
            self._room = trio.Event()
            with trio.move_on_after(PRESENCE_CHECK_SECONDS):
                await self._room.wait()
            if self._transport.has_peer_left:
                self.lose_client(DisconnectReason.LEFT)
        if self._state is _State.REQUEST and self._stream is stream:
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
            self._move_deadline(min(trio.current_time() + self._context.linger_seconds, self._linger_ends_at))
            return
        if self._body is not None:
            data = self._received_body(self._body, data)
            if not data:
                return
        self._buffer += data
        if self._state is _State.HEAD:
            self._context.is_busy(self)
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
        if self._stream is not None:
            self._stream.deliver(content, body.is_done)
            self._expect_body()
        elif body.is_done:  # the rest of a body that nobody read
            self._buffer += rest
            self._next_request()
            return b""
        return rest

    def _expect_body(self) -> None:
        """Set the deadline of a request that is being served: none once its body is here."""
        if self._body is None or (self._stream is not None and self._stream.expects_continue):
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
                request_head = parse_request_head(head, self._limits.max_head_fields)
            except BadRequestHead as error:
                self._refuse(DisconnectReason.MISBEHAVED, error.status, error.reason)
            else:
                self._start(request_head)
        elif has_bare_line_feed(buffer):
            self._refuse(DisconnectReason.MISBEHAVED, 400, "a line must end in CR LF")
        elif self._deadline > (soon := trio.current_time() + self._limits.head_timeout_seconds):
            self._move_deadline(soon)  # the idle wait is over, the head is arriving

    def _start(self, head: RequestHead) -> None:
        stream = Http1Stream(self, self._transport, head)
        self._stream = stream
        self._state = _State.REQUEST
        if head.has_body:
            self._body = ChunkedBody() if head.is_chunked else SizedBody(head.content_length or 0)
            self._body_ends_at = trio.current_time() + self._limits.body_total_timeout_seconds
        self._expect_body()
        self._nursery.start_soon(self._run_request, stream, ClientRequest(head, self._context.scheme, stream))
        if self._body is not None and self._buffer:
            rest = bytes(self._buffer)
            self._buffer.clear()
            self._received(rest)

    # --- the request task ---

    async def _run_request(self, stream: Http1Stream, request: ClientRequest) -> None:
        """Run the application and see to the end of its response.

        Cancelled here: destroys, a response that was not whole is cut.
        """
        try:
            await self._context.run_application(request)
            if stream.is_complete:
                await self._transport.drain()  # only if the last send was cancelled while it waited
        finally:
            self._finish(stream)

    def _finish(self, stream: Http1Stream) -> None:
        """The application is done with the request: go on with the connection, or end it."""
        stream.drop_body()
        self._room.set()
        if stream is not self._stream or self._state is not _State.REQUEST:
            return
        if not stream.is_complete:
            if stream.has_begun:
                stream.abort()
            elif self._context.is_draining:
                self._refuse(DisconnectReason.ABORTED, 503, "the server is shutting down")
            else:
                self._refuse(DisconnectReason.ABORTED, 500, "the request was not answered")
        elif not stream.keep_alive or self._transport.unsent_bytes:
            self._linger()
        elif self._body is not None:  # _received_body goes on when the rest of the body has come
            self._stream = None
            self._body_ends_at = min(self._body_ends_at, trio.current_time() + self._context.linger_seconds)
            self._expect_body()
        else:
            self._next_request()

    def _next_request(self) -> None:
        self._stream = None
        if self._context.is_draining:
            self._linger()
            return
        self._state = _State.HEAD
        self._move_deadline(trio.current_time() + self._limits.keep_alive_timeout_seconds)
        if self._buffer:
            self._parse_head()
        else:
            self._context.is_idle(self)

    # --- ends ---

    def begin_drain(self) -> None:
        """Close if no request is being read or answered; otherwise after it."""
        if self._state is _State.HEAD and not self._buffer:
            self._close()

    def _time_out(self) -> None:
        if self._state is _State.HEAD and self._buffer:
            self._refuse(DisconnectReason.LEFT, 408, "the request head did not arrive in time")
        elif self._state is _State.REQUEST and self._stream is not None:
            self._refuse(DisconnectReason.BODY_TIMEOUT, 408, "the request body did not arrive in time")
        else:
            self._close()

    def lose_client(self, reason: DisconnectReason) -> None:
        """The client is lost, and its connection closed."""
        if self._stream is not None:
            self._stream.lose(reason)
        self._close()

    def _refuse(self, why: DisconnectReason, status: int, reason: str) -> None:
        """Answer in the application's stead unless its response has begun, and end the connection."""
        stream = self._stream
        if stream is not None:
            stream.lose(why)
            if stream.has_begun:
                self.cut(stream)
                return
        else:
            self._context.on_bad_head(reason)
        self._transport.write_nowait(encode_refusal(status, reason))
        self._linger()

    def cut(self, stream: Http1Stream) -> None:
        """End the connection so that the response under way cannot be taken for whole.

        A framed response shows by itself that it is not; then what the client was sent still reaches it.
        """
        if stream.framing is Framing.UNTIL_CLOSE or self._transport.unsent_bytes or not stream.has_begun:
            self._transport.abort()
            self._close()
        else:
            self._linger()

    def _linger(self) -> None:
        self._state = _State.LINGER
        self._stream = None
        self._body = None
        self._buffer.clear()
        self._transport.write_eof()
        now = trio.current_time()
        self._linger_ends_at = now + self._limits.linger_total_seconds
        self._move_deadline(now + self._context.linger_seconds)

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
        if self._context.is_draining or self._state is not _State.REQUEST:
            return True
        body, stream = self._body, self._stream
        if body is None or stream is None:
            return False
        if stream.expects_continue or body.remaining is None:
            return True  # it may never come, or never end
        return body.remaining > self._limits.max_discard_bytes


class Http1Stream(ServerStream):
    """One request on an HTTP/1.1 connection."""

    def __init__(self, connection: Http1Connection, transport: Transport, head: RequestHead) -> None:
        super().__init__(expects_continue=head.expects_continue, has_body=head.has_body)
        self._connection = connection
        self._transport = transport
        self._request_head = head
        self._head = b""
        self._left: int | None = None  # bytes of a sized response that are still to come
        self.framing = Framing.CHUNKED
        self.keep_alive = head.wants_keep_alive

    def abort(self) -> None:
        """Close the connection without the response's end; resets it where the end would not be missed."""
        if self.is_complete and not self._transport.unsent_bytes:
            return
        self.lose(DisconnectReason.ABORTED)
        self._connection.cut(self)

    def send_nowait(self, body: bytes) -> int | None:
        transport = self._transport
        if not self.has_begun or self._last_was_given or self.disconnected_at is not None or transport.unsent_bytes:
            return None
        if not body or len(body) > SEND_BYTES or (self._left is not None and len(body) > self._left):
            return None
        if self._left is not None:
            self._left -= len(body)
        transport.write_nowait(self._frame(body, is_last=False))
        return len(body) if transport.is_broken else min(transport.unsent_bytes, len(body))

    def _write_continue(self) -> None:
        self._transport.write_nowait(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._connection.continue_was_sent()

    def _on_body_taken(self, count: int) -> None:
        self._connection.make_room()

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        fields, length, app_wants_close = check_fields(headers)
        is_old = self._request_head.http_version == "1.0"
        if forbids_body(self._request_head.method, status):
            self.framing = Framing.NO_BODY
        elif length is not None:
            self.framing = Framing.SIZED
            self._left = length
        else:
            self.framing = Framing.UNTIL_CLOSE if is_old else Framing.CHUNKED
        if app_wants_close or self.framing is Framing.UNTIL_CLOSE or self._connection.wants_close:
            self.keep_alive = False
        connection = b"close" if not self.keep_alive else b"keep-alive" if is_old else None
        self._head = encode_response_head(status, fields, length, self.framing, connection)

    async def _send_body(self, body: bytes, is_last: bool) -> None:
        """As ``send``. Cancelled here: as ``send``."""
        transport = self._transport
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left > 0):
                raise BadResponse("the response body does not have the length that its head declared")
        if len(body) > SEND_BYTES:
            view = memoryview(body)
            for start in range(0, len(body) - SEND_BYTES, SEND_BYTES):
                transport.write_nowait(self._frame(bytes(view[start : start + SEND_BYTES]), is_last=False))
                await self._drain()
            body = bytes(view[start + SEND_BYTES :])
        data = self._frame(body, is_last)
        if data:
            transport.write_nowait(data)
        self.is_complete = is_last and self.disconnected_at is None and not transport.is_broken
        if transport.unsent_bytes or transport.is_broken:
            await self._drain()

    def _frame(self, body: bytes, is_last: bool) -> bytes:
        self.has_begun = True
        head, self._head = self._head, b""
        if self.framing is Framing.CHUNKED:
            if not body:
                return head + b"0\r\n\r\n" if is_last else head
            return b"%b%x\r\n%b\r\n%b" % (head, len(body), body, b"0\r\n\r\n" if is_last else b"")
        if self.framing is Framing.NO_BODY:
            return head
        return head + body if head else body

    async def _drain(self) -> None:
        """Wait for the client, and lose it when it stalls or a write finds it gone.

        Cancelled here: as ``Transport.drain``.
        """
        await self._transport.drain()
        if self._transport.is_broken:  # the reader would see it too, but only after ``send`` has returned
            self._connection.lose_client(
                DisconnectReason.STALLED if self._transport.has_stalled else DisconnectReason.LEFT
            )
