"""One HTTP/2 connection: a task that reads for as long as it lives, and a task per stream.

``h2`` keeps the protocol's state; this file decides what a stream and a client may cost. Whatever is done to ``h2`` is
flushed to the transport in the same step, so that frames leave in the order in which they were made.

A stream's task holds at most one frame that did not go out: it waits for its window, then for the socket. What the
reader writes (acknowledgements, resets) is not waited for, only bounded.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.client_request import ClientRequest
from relay_trio.server.h2_frames import (
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    BlockDecoder,
    Budget,
    Frame,
    FrameSplitter,
    FrameTooLarge,
    are_trailers,
    goaway_code,
    goaway_frame,
    is_idle_talk,
    read_request,
)
from relay_trio.server.response_head import BadResponse, check_fields, date_value, forbids_body
from relay_trio.server.stream import ServerStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.net.transport import Transport
    from relay_trio.server.context import ConnectionContext
    from relay_trio.server.limits import ConnectionLimits
    from relay_trio.server.request_head import RequestHead

MAX_UNREAD_CONTROL_BYTES = 128 * 1024
"""Acknowledgements and resets that a client makes us write and does not read; then it is cut."""

FRAMES_PER_STEP = 64
"""Frames handled before other tasks run: a read holds up to 7,000 of them, at 20 to 50 us each."""

UPDATES_PER_CHUNK = 3
"""How many updates of its windows a client may send for a chunk of an answer (two, and one to spare)."""


class Http2Connection:
    """Serves the streams of one connection; ``received`` begins with the preface."""

    def __init__(self, transport: Transport, context: ConnectionContext, received: bytes) -> None:
        self._transport = transport
        self._context = context
        self._limits = limits = context.limits
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=False)
        )
        self.h2.decoder = self._decoder = BlockDecoder()
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limits.h2_max_streams,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_head_bytes,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: limits.h2_stream_window_bytes,
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self.h2.decoder.max_header_list_size = limits.max_head_bytes
        self._received_early = received
        self._frames = FrameSplitter()
        self._streams: dict[int, Http2Stream] = {}  # those whose client still listens
        self._tasks = 0  # those whose application still runs
        self._last_stream_id = 0
        self._client_is_leaving = False  # it sent a graceful GOAWAY
        self._is_over = False
        self._lost_by = DisconnectReason.LEFT  # why the streams are lost that are open when the connection ends
        self._reading = trio.CancelScope()
        self._deadline = trio.current_time() + limits.head_timeout_seconds
        self._writing = trio.Lock()
        self._is_flushing = False
        now = trio.current_time()
        self._resets = Budget(limits.h2_reset_burst, limits.h2_reset_per_second, now)
        self.idle_talk = Budget(limits.h2_control_burst, limits.h2_control_per_second, now)
        self._nursery: trio.Nursery

    # --- the connection task ---

    async def run(self) -> None:
        """Serve until the connection ends.

        Cancelled here: destroys, the connection is closed and its streams' tasks are cancelled with it.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                self.h2.initiate_connection()
                self.h2.increment_flow_control_window(self._limits.h2_connection_window_bytes - 65_535)
                self.h2.receive_data(PREFACE)
                self.flush()
                received = self._received_early[len(PREFACE) :]
                self._received_early = b""
                while not self._is_over:
                    with trio.CancelScope(deadline=self._deadline) as self._reading:
                        await self._read(received)
                    received = b""
                    if self._reading.cancelled_caught:
                        self._time_out()
                for stream in tuple(self._streams.values()):
                    stream.lose(DisconnectReason.STALLED if self._transport.has_stalled else self._lost_by)
                self._streams.clear()
                await self._linger()
        finally:
            self._transport.close()
            self._context.has_ended(self)

    async def _read(self, received: bytes | None) -> None:
        """Read until the connection is over. Cancelled here: atomic, a frame that was read is dealt with."""
        handled = 0
        while not self._is_over:
            try:
                for frame in self._frames.feed(received or b""):
                    self._handle(frame)
                    if self._is_over:
                        return
                    handled += 1
                    if handled % FRAMES_PER_STEP == 0:
                        await trio.lowlevel.cancel_shielded_checkpoint()
            except FrameTooLarge:
                self._end(FRAME_SIZE_ERROR)
                return
            await self._transport.wait_readable()
            received = self._transport.read_nowait()
            if received == b"":
                self._is_over = True

    async def _linger(self) -> None:
        """Let the client read our last frame before the socket closes. Cancelled here: destroys."""
        if self._transport.is_closed or self._transport.is_broken:
            return
        self._transport.write_eof()
        with trio.move_on_after(self._context.linger_seconds):
            while self._transport.read_nowait() != b"":
                await self._transport.wait_readable()

    # --- arrivals ---

    def _handle(self, frame: Frame) -> None:
        now = trio.current_time()
        if (is_idle_talk(frame) and not self.idle_talk.spend(now)) or (
            frame.type == RST_STREAM and not self._resets.spend(now)
        ):
            self._end(ENHANCE_YOUR_CALM)
            return
        if frame.type == GOAWAY:
            # Graceful (RFC 9113 6.8): the client takes no streams from us any more, and may still open its own.
            self._client_is_leaving = True
            self._is_over = goaway_code(frame) != NO_ERROR
            self._set_deadline()
            return
        if frame.type == HEADERS and not frame.flags & END_STREAM and frame.stream_id in self._streams:
            self._refuse(frame.stream_id)  # trailers that end nothing; h2 still decodes them
        try:
            events = self.h2.receive_data(frame.raw)
        except h2.exceptions.ProtocolError:
            self.flush()  # h2 has made a GOAWAY
            self._lost_by = DisconnectReason.MISBEHAVED
            self._is_over = True
            return
        except Exception as error:
            self._context.report(error)
            self._end(INTERNAL_ERROR)
            return
        for event in events:
            self._on_event(event)
        self.flush()
        if self._transport.unsent_bytes > MAX_UNREAD_CONTROL_BYTES:
            self._transport.abort()
            self._lost_by = DisconnectReason.MISBEHAVED
            self._is_over = True

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._start(event)
        elif isinstance(event, h2.events.DataReceived):
            self._receive_data(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._end_body(event.stream_id or 0)
        elif isinstance(event, h2.events.TrailersReceived):
            if not are_trailers(self._decoder.block):
                self._refuse(event.stream_id or 0)
        elif isinstance(event, h2.events.StreamReset):
            self._forget(event.stream_id or 0, DisconnectReason.LEFT)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in self._streams.values() if not event.stream_id else ():
                stream.window_opened()
            if (changed := self._streams.get(event.stream_id or 0)) is not None:
                changed.window_opened()
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            for stream in self._streams.values():
                stream.window_opened()

    def _start(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id or 0
        block = self._decoder.block
        has_body = event.stream_ended is None
        if self._context.is_draining or self._tasks >= self._limits.h2_max_streams:
            self.reset(stream_id, REFUSED_STREAM)
            return
        self._last_stream_id = stream_id
        if len(block) > self._limits.max_head_fields + 4:
            self._context.on_bad_head(f"more than {self._limits.max_head_fields} header fields")
            self.h2.send_headers(stream_id, [(b":status", b"431")], end_stream=True)
            self._resets.spend(trio.current_time())
            if has_body:
                self.reset(stream_id, NO_ERROR)
            return
        head = read_request(block, has_body=has_body)
        if head is None:
            self._context.on_bad_head("the header block is not that of a request")
            self._refuse(stream_id)
            return
        stream = Http2Stream(self, self._transport, stream_id, head, self._limits)
        self._streams[stream_id] = stream
        self._tasks += 1
        self._context.is_busy(self)
        self._set_deadline()
        self._nursery.start_soon(self._run_stream, stream, ClientRequest(head, self._context.scheme, stream))

    def _receive_data(self, event: h2.events.DataReceived) -> None:
        stream_id = event.stream_id or 0
        size = event.flow_controlled_length or 0
        data = event.data or b""
        stream = self._streams.get(stream_id)
        if stream is None:
            self.acknowledge(stream_id, size)
            return
        self.acknowledge(stream_id, size - len(data))  # padding
        stream.received_bytes += len(data)
        if stream.declared_bytes is not None and stream.received_bytes > stream.declared_bytes:
            self.acknowledge(stream_id, len(data))
            self._refuse(stream_id)
            return
        kept = stream.body_bytes
        stream.deliver(data, is_last=False)
        stream.body_idle_at = trio.current_time() + self._limits.body_idle_timeout_seconds
        if stream.body_bytes == kept:  # the response has ended: nobody will read it
            self.acknowledge(stream_id, len(data))
        self._set_deadline()

    def _end_body(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.declared_bytes is not None and stream.received_bytes != stream.declared_bytes:
            self._refuse(stream_id)
            return
        stream.deliver(b"", is_last=True)
        stream.body_ends_at = stream.body_idle_at = inf
        self._set_deadline()

    def _refuse(self, stream_id: int) -> None:
        """End a stream whose request is malformed; the others go on. A client that makes many of them is cut."""
        self.reset(stream_id, PROTOCOL_ERROR)
        self._forget(stream_id, DisconnectReason.MISBEHAVED)
        if not self._resets.spend(trio.current_time()):
            self._end(ENHANCE_YOUR_CALM)

    # --- a stream's task ---

    async def _run_stream(self, stream: Http2Stream, request: ClientRequest) -> None:
        """Run the application and see to the end of its response.

        Cancelled here: destroys, a response that was not whole is reset.
        """
        try:
            await self._context.run_application(request)
        finally:
            self._tasks -= 1
            self._finish(stream)

    def _finish(self, stream: Http2Stream) -> None:
        if self._streams.get(stream.stream_id) is not stream:
            return
        if not stream.is_complete and not stream.has_begun:
            self.answer(stream, 503 if self._context.is_draining else 500)
        elif not stream.is_complete:
            self.reset(stream.stream_id, INTERNAL_ERROR)
        elif not stream.body_has_arrived:
            self.reset(stream.stream_id, NO_ERROR)  # RFC 9113 8.1: the rest of the request is not read
        taken = stream.body_bytes
        stream.drop_body()
        self.acknowledge(stream.stream_id, taken)
        self._forget(stream.stream_id, None)
        self.flush()

    def answer(self, stream: Http2Stream, status: int) -> None:
        """Answer in the application's stead."""
        self._quietly(partial(self.h2.send_headers, stream.stream_id, [(b":status", b"%d" % status)], end_stream=True))
        stream.has_begun = stream.is_complete = True
        if not stream.body_has_arrived:
            self.reset(stream.stream_id, NO_ERROR)

    def give_up(self, stream: Http2Stream, reason: DisconnectReason) -> None:
        """End one stream so that its response cannot be taken for whole."""
        if self._streams.get(stream.stream_id) is stream:
            self.reset(stream.stream_id, INTERNAL_ERROR)
            self._forget(stream.stream_id, reason)
        stream.lose(reason)

    def _forget(self, stream_id: int, reason: DisconnectReason | None) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        if reason is not None:
            unread = stream.body_bytes
            stream.lose(reason)
            stream.window_opened()
            self.acknowledge(stream_id, unread)
        self._set_deadline()
        if not self._streams and self._context.is_draining:
            self._end(NO_ERROR)

    # --- writing ---

    def flush(self) -> None:
        """Hand everything that h2 made to the transport."""
        data = self.h2.data_to_send()
        if data:
            self._transport.write_nowait(data)
            if self._transport.unsent_bytes and not self._is_flushing and not self._is_over:
                self._is_flushing = True
                self._nursery.start_soon(self._flush_rest)

    async def _flush_rest(self) -> None:
        """Push what the socket did not take, when no stream waits to do it. Cancelled here: as ``wait_for_socket``."""
        try:
            await self.wait_for_socket()
        finally:
            self._is_flushing = False

    async def wait_for_socket(self) -> None:
        """Return when the transport's buffer is empty, or the connection is lost. Cancelled here: safe to retry."""
        async with self._writing:
            await self._transport.drain()

    def reset(self, stream_id: int, error_code: int) -> None:
        """RST_STREAM, if the stream is still open."""
        self._quietly(partial(self.h2.reset_stream, stream_id, error_code))

    def acknowledge(self, stream_id: int, count: int) -> None:
        """Open the windows again for ``count`` bytes that were taken or dropped."""
        if count > 0:
            self._quietly(partial(self.h2.acknowledge_received_data, count, stream_id))

    def _quietly(self, action: Any) -> None:
        """Do something to a stream that may have ended meanwhile, which is then all the same."""
        try:
            action()
        except (h2.exceptions.ProtocolError, ValueError, KeyError):
            return
        self.flush()

    # --- ends ---

    def begin_drain(self) -> None:
        """Take no new streams; close when the last one has ended."""
        if self._streams:
            self._transport.write_nowait(goaway_frame(self._last_stream_id, NO_ERROR))
        else:
            self._end(NO_ERROR)

    def _end(self, error_code: int) -> None:
        """Send GOAWAY and let the reader finish."""
        if not self._is_over:
            if error_code not in (NO_ERROR, INTERNAL_ERROR):
                self._lost_by = DisconnectReason.MISBEHAVED
            self.flush()
            self._transport.write_nowait(goaway_frame(self._last_stream_id, error_code))
            self._is_over = True
            self._reading.cancel()

    def _set_deadline(self) -> None:
        """The next moment at which a client is late: with a request body, or with anything at all."""
        if self._streams:
            deadline = min(min(stream.body_idle_at, stream.body_ends_at) for stream in self._streams.values())
        elif self._client_is_leaving:
            deadline = trio.current_time() + self._context.linger_seconds
        else:
            deadline = trio.current_time() + self._limits.keep_alive_timeout_seconds
            self._context.is_idle(self)
        if deadline != self._deadline:
            self._deadline = self._reading.deadline = deadline

    def _time_out(self) -> None:
        if self._is_over:
            return
        if not self._streams:
            self._end(NO_ERROR)
            return
        now = trio.current_time()
        for stream in tuple(self._streams.values()):
            if min(stream.body_idle_at, stream.body_ends_at) > now:
                continue
            if stream.body_bytes or stream.expects_continue:  # it waits for us: for its window, or for 100 Continue
                stream.body_idle_at = now + self._limits.body_idle_timeout_seconds
                stream.body_ends_at = max(stream.body_ends_at, stream.body_idle_at)
            else:
                if stream.has_begun:
                    self.reset(stream.stream_id, INTERNAL_ERROR)
                else:
                    self.answer(stream, 408)
                self._forget(stream.stream_id, DisconnectReason.BODY_TIMEOUT)
        self._set_deadline()


class Http2Stream(ServerStream):
    """One stream."""

    def __init__(
        self,
        connection: Http2Connection,
        transport: Transport,
        stream_id: int,
        head: RequestHead,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(expects_continue=head.expects_continue, has_body=head.has_body)
        self._connection = connection
        self._transport = transport
        self._method = head.method
        self._write_timeout_seconds = limits.write_timeout_seconds
        self.stream_id = stream_id
        now = trio.current_time()
        self.body_idle_at = now + limits.body_idle_timeout_seconds if head.has_body else inf
        self.body_ends_at = now + limits.body_total_timeout_seconds if head.has_body else inf
        self._window = trio.Event()
        self.declared_bytes = head.content_length
        self.received_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._left: int | None = None
        self._has_no_body = False

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
        """As ``send``. Cancelled here: what has not gone out is forgotten; the stream is reset when its task ends."""
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
        """Cut ``body`` into frames and send each when there is room. Cancelled here: as ``_send_body``."""
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

        Cancelled here: safe to retry.
        """
        self._window = trio.Event()
        with trio.move_on_after(self._write_timeout_seconds) as scope:
            await self._window.wait()
        if scope.cancelled_caught:
            self._connection.give_up(self, DisconnectReason.STALLED)
