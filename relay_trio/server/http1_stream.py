"""One request on an HTTP/1.1 connection: the response's framing, made here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.server.response_head import (
    BadResponse,
    Framing,
    check_fields,
    encode_response_head,
    forbids_body,
)
from relay_trio.server.stream import SEND_BYTES, DisconnectReason, ServerStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.http import RequestHead
    from relay_trio.server.http1 import Http1Connection
    from relay_trio.server.transport import Transport


class Http1Stream(ServerStream):
    """One request on an HTTP/1.1 connection."""

    def __init__(
        self, connection: Http1Connection, transport: Transport, request: RequestHead, continue_on_receive: bool
    ) -> None:
        super().__init__(
            expects_continue=request.expects_continue,
            continue_on_receive=continue_on_receive,
            has_body=request.has_body,
        )
        self._connection = connection
        self._transport = transport
        self._request = request
        self._head = b""
        self._left: int | None = None  # bytes of a sized response that are still to come
        self.framing = Framing.CHUNKED
        self.keep_alive = request.wants_keep_alive

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
        is_old = self._request.http_version == "1.0"
        if forbids_body(self._request.method, status):
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
        """As ``send``. Cancelled: as ``send``."""
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
        """Wait for the client; loses it when it stalls or a write finds it gone. Cancelled: as ``Transport.drain``."""
        await self._transport.drain()
        if self._transport.is_broken:  # the reader would see it too, a moment after the application was told "sent"
            self._connection.lose_client(
                DisconnectReason.STALLED if self._transport.has_stalled else DisconnectReason.LEFT
            )
