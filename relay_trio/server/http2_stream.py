"""One request on an HTTP/2 connection: the stream's windows, and the wait for them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import h2.exceptions
import trio

from relay_trio.server.response_head import BadResponse, check_fields, date_value, forbids_body
from relay_trio.server.stream import DisconnectReason, ServerStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.server.h2_frames import H2Request
    from relay_trio.server.http2 import Http2Connection
    from relay_trio.server.limits import ConnectionLimits
    from relay_trio.server.transport import Transport

# What an answered chunk entitles the client to say about its windows (two updates, and one to spare).
UPDATES_PER_CHUNK = 3


class Http2Stream(ServerStream):
    """One stream."""

    def __init__(
        self,
        connection: Http2Connection,
        transport: Transport,
        stream_id: int,
        request: H2Request,
        has_body: bool,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(
            expects_continue=request.expects_continue and has_body,
            continue_on_receive=limits.continue_on_receive,
            has_body=has_body,
        )
        self._connection = connection
        self._transport = transport
        self._method = request.method
        self._write_timeout_seconds = limits.write_timeout_seconds
        self.stream_id = stream_id
        now = trio.current_time()
        self.body_idle_at = now + limits.body_idle_timeout_seconds if has_body else inf
        self.body_ends_at = now + limits.body_total_timeout_seconds if has_body else inf
        self._window = trio.Event()
        self._headers: list[tuple[bytes, bytes]] = []
        self._left: int | None = None
        self._has_no_body = False

    @property
    def body_has_ended(self) -> bool:
        return self._body_is_whole

    def abort(self) -> None:
        """Reset the stream; the others of its connection go on."""
        if not self.is_complete:
            self._connection.give_up(self, DisconnectReason.ABORTED)

    def window_opened(self) -> None:
        """There may be room in the stream's or the connection's window, or the stream is gone."""
        self._window.set()

    def _write_continue(self) -> None:
        try:
            self._connection.h2.send_headers(self.stream_id, [(b":status", b"100")])
        except h2.exceptions.ProtocolError:
            return
        self._connection.flush()

    def _on_body_taken(self, count: int) -> None:
        self._connection.acknowledge(self.stream_id, count)

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        fields, length, _ = check_fields(headers)
        self._has_no_body = forbids_body(self._method, status)
        if length is not None:
            if not self._has_no_body:
                self._left = length
            fields.append((b"content-length", b"%d" % length))
        if not any(name == b"date" for name, _ in fields):
            fields.append((b"date", date_value()))
        self._headers = [(b":status", b"%d" % status), *fields]

    async def _send_body(self, body: bytes, is_last: bool) -> None:
        """As ``send``. Cancelled: what has not gone out is forgotten; the stream is reset when its task ends."""
        if self._has_no_body:
            body = b""
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left > 0):
                raise BadResponse("the response body does not have the length that its head declared")
        self._connection.idle_talk.earn(UPDATES_PER_CHUNK)
        try:
            await self._send_frames(body, is_last)
        except h2.exceptions.ProtocolError:
            # The stream ended under our hands: the reader has seen it, or will with the next frame.
            self._connection.give_up(self, DisconnectReason.LEFT)

    async def _send_frames(self, body: bytes, is_last: bool) -> None:
        """Cut ``body`` into frames and send each when there is room. Cancelled: as ``_send_body``."""
        connection, h2_connection = self._connection, self._connection.h2
        sent = 0
        while self.disconnected_at is None:
            if self._transport.unsent_bytes:
                await connection.wait_for_socket()
                continue
            if not self.has_begun:
                self.has_begun = True
                ends_here = is_last and not body
                h2_connection.send_headers(self.stream_id, self._headers, end_stream=ends_here)
                if ends_here:
                    break
            room = min(h2_connection.local_flow_control_window(self.stream_id), h2_connection.max_outbound_frame_size)
            if sent < len(body) and room <= 0:
                connection.flush()
                await self._wait_for_window()
                continue
            part = body[sent : sent + room] if body else b""
            sent += len(part)
            is_end = is_last and sent == len(body)
            if part or is_end:
                h2_connection.send_data(self.stream_id, part, end_stream=is_end)
            if sent == len(body):
                break
            connection.flush()
        connection.flush()
        if self.disconnected_at is None:
            self.is_complete = is_last and not self._transport.is_broken
            if self._transport.unsent_bytes:
                await connection.wait_for_socket()
        if self._transport.is_broken:
            connection.give_up(self, DisconnectReason.STALLED if self._transport.has_stalled else DisconnectReason.LEFT)

    async def _wait_for_window(self) -> None:
        """Wait until the client opens a window; a client that does not for too long loses the stream.

        Cancelled: safe to retry.
        """
        self._window = trio.Event()
        with trio.move_on_after(self._write_timeout_seconds) as scope:
            await self._window.wait()
        if scope.cancelled_caught:
            self._connection.give_up(self, DisconnectReason.STALLED)
