"""One TCP connection: a task that reads at all times, a task that answers, and what each end of it means.

    _serve   takes requests one by one and performs their answers
    _read    never stops: while an answer waits for its next token, the client's FIN is seen here, at that moment,
             and cancels ``_serve``

A FIN of the client counts as its departure even though TCP would let it wait for the rest: that is what an HTTP client
that hangs up looks like. Sends go straight to the socket, so a paced chunk costs one system call.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from relay_trio.simulator.request import RequestReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay_trio.simulator.request import Request
    from relay_trio.simulator.settings import SimulatorSettings

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_RECEIVE_BYTES = 65536
_RESET_ON_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_MAX_PIPELINED = 16
_RESET_WAIT_SECONDS = 1.0
"""A reset throws away what the client's kernel has not taken yet: it has so long to take it, and faults are exact."""
_LINGER_SECONDS = 1.0
"""After an early answer, unread request bytes would make the close a reset that destroys the answer."""


class Connection:
    """A socket of ours, closed when ``run`` ends."""

    def __init__(self, sock: socket.socket, number: int, settings: SimulatorSettings) -> None:
        self.number = number
        self.bytes_sent = 0
        self.client_closed_at: float | None = None
        self.is_closed = False
        self.served = 0
        self._sock = sock
        self._settings = settings
        self._reader = RequestReader(settings.max_body_bytes)
        self._requests: deque[Request] = deque()
        self._arrived = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, answer: Callable[[Connection, Request], Awaitable[bool]]) -> None:
        """Serve until either side ends the connection; ``answer`` returns whether it may go on.

        Cancelled here: destroys; the connection is closed.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._read)
                await self._serve(answer)
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    async def _serve(self, answer: Callable[[Connection, Request], Awaitable[bool]]) -> None:
        """Answer one request after another. Cancelled here: destroys; the answer in progress is cut."""
        idle_seconds = self._settings.keep_alive_seconds
        while not self.is_closed:
            if not self._requests and not self._reader.is_broken:
                self._arrived = trio.Event()
                with trio.move_on_after(math.inf if idle_seconds is None else idle_seconds) as idle:
                    await self._arrived.wait()
                if idle.cancelled_caught:
                    return
            if not self._requests:
                return  # garbage came in place of a request
            request = self._requests.popleft()
            self.served += 1
            try:
                goes_on = await answer(self, request)
            except OSError:
                self._client_left()
                return
            if not goes_on:
                if request.is_too_large and not self.is_closed:
                    await self._linger()
                return

    async def _read(self) -> None:
        """Read until the client is gone. Cancelled here: safe to retry; nothing that was read is lost."""
        sock = self._sock
        while True:
            try:
                await trio.lowlevel.wait_readable(sock)
                data = sock.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                return
            except OSError:
                data = b""
            if not data:
                self._client_left()
                return
            reader = self._reader
            reader.feed(data)
            if reader.continues_wanted:
                reader.continues_wanted = 0
                self._say_continue()
            if reader.requests:
                self._requests.extend(reader.requests)
                reader.requests.clear()
            if reader.is_broken and not self._requests and not self.served:
                self._reject()
            if len(self._requests) > _MAX_PIPELINED:
                self._scope.cancel()
            if self._requests or reader.is_broken:
                self._arrived.set()

    def _client_left(self) -> None:
        if self.client_closed_at is None:
            self.client_closed_at = time.monotonic()
        self._scope.cancel()

    def _say_continue(self) -> None:
        try:
            self._sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError:
            self._client_left()

    def _reject(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self._scope.cancel()

    async def send(self, data: bytes) -> None:
        """Hand all of ``data`` to the kernel; ``bytes_sent`` counts what it took. Returns at once when there is room.

        Raises:
            OSError: the client is gone, or the connection was closed here.

        Cancelled here: destroys; some of ``data`` was sent, and ``bytes_sent`` says how much.
        """
        sent = self._send_nowait(data)
        if sent == len(data):
            return
        with memoryview(data) as view:
            while sent < len(data):
                try:
                    await trio.lowlevel.wait_writable(self._sock)
                except trio.ClosedResourceError:
                    raise BrokenPipeError("the simulator closed the connection") from None
                sent += self._send_nowait(view[sent:])

    def _send_nowait(self, data: bytes | memoryview) -> int:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return 0
        self.bytes_sent += sent
        return sent

    def close(self) -> None:
        """Close the socket; FIN if nothing received is left unread. May be called again."""
        if not self.is_closed:
            self.is_closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def reset(self) -> None:
        """End the connection with RST, once the client's kernel holds what was sent (at most a second).

        Cancelled here: destroys; the connection must be closed by its owner.
        """
        with trio.move_on_after(_RESET_WAIT_SECONDS):
            while self._unsent_bytes():  # noqa: ASYNC110  # the kernel reports to nobody that it has sent
                await trio.sleep(0.001)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def _unsent_bytes(self) -> int:
        """What the client's kernel has not taken yet; 0 where the system does not say."""
        if fcntl is None:
            return 0
        try:
            answer = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:  # macOS, on a socket
            return 0
        return int(struct.unpack("i", answer)[0])

    async def _linger(self) -> None:
        """Let the client read an early answer while the rest of its request is thrown away (at most a second).

        Cancelled here: destroys; the connection is closed by its owner.
        """
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        await trio.sleep(_LINGER_SECONDS)
