"""One connection: reads that may find nothing, writes that never wait, and one place that waits.

``write_nowait`` takes the bytes over at once: to the kernel as far as it takes them, the rest into a queue here that
the next write goes behind. So no cancellation can leave half a chunk on the wire, and whoever writes decides when to
``drain``. ``read_nowait`` and ``close`` never wait either, which makes a pooled connection testable before it is used
again, and cleanup possible inside a cancelled task.

Sockets are the standard library's, non-blocking: a trio socket costs a checkpoint for each call even when it need not
wait. A connection that breaks raises nothing: writes do nothing from then on, and reads find the end. What is to be
made of an end that was not orderly is for the reader to judge by ``failure``: a client may leave as it likes, but an
answer that was cut may not pass for a whole one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import fcntl
    import termios
except ImportError:  # pragma: no cover - not on Windows
    fcntl = None  # type: ignore[assignment]

RECEIVE_BYTES = 64 * 1024
"""Most bytes of one read."""

_GATHERED_PIECES = 64 if hasattr(socket.socket, "sendmsg") else 1  # Windows has no sendmsg
"""Pieces that one system call sends at most; Linux takes 1,024 (``IOV_MAX``)."""

_RESET_ON_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8  # include/net/tcp_states.h


class Transport(Protocol):
    """One connection. One task reads and one drains at a time; any of them may write."""

    @property
    def is_closed(self) -> bool:
        """Whether it was closed from this side."""

    @property
    def has_stalled(self) -> bool:
        """Whether it is broken because the other end took no byte within the time for writes."""

    @property
    def is_broken(self) -> bool:
        """Whether a write failed, or the other end took nothing for too long: nothing more will be sent."""

    @property
    def failure(self) -> str | None:
        """Why reading ended, as text for a log; None before that, and where the other end closed in an orderly way."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes taken over that the kernel has not."""

    @property
    def has_peer_left(self) -> bool:
        """Whether the kernel knows of a FIN or RST, even behind bytes that were not read (Linux only)."""

    async def wait_readable(self) -> None:
        """Return when a read may find something, or when the transport was closed.

        Cancelled here: safe to retry (nothing was read).
        """

    def read_nowait(self) -> bytes | None:
        """What has arrived; None when that is nothing yet, ``b""`` when nothing will come any more."""

    def write_nowait(self, *pieces: bytes) -> None:
        """Take the pieces over, in order; one system call when the kernel takes them all."""

    async def drain(self) -> None:
        """Wait until the kernel has every byte, or the connection is broken. No checkpoint when it has them already.

        Cancelled here: safe to retry (what was not taken stays queued).
        """

    def write_eof(self) -> None:
        """Say that nothing more will come; reading goes on. Nothing happens while bytes are unsent."""

    def break_off(self) -> None:
        """Send nothing more: it cannot be taken."""

    def close(self) -> None:
        """Close now; may be called twice."""

    def abort(self) -> None:
        """Reset: the other end cannot take what it has for a whole message, and the kernel forgets what it held."""


class SocketTransport:
    """A plain TCP or Unix connection. ``sock`` is non-blocking and belongs to the transport.

    ``write_timeout_seconds``: the connection is reset when the other end takes no byte for as long while ``drain``
    waits; None where the caller has a deadline of its own.
    """

    def __init__(self, sock: socket.socket, write_timeout_seconds: float | None = None) -> None:
        self._sock = sock
        self._write_timeout_seconds = write_timeout_seconds
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.is_closed = False
        self.is_broken = False
        self.has_stalled = False
        self.failure: str | None = None

    # --- reading ---

    async def wait_readable(self) -> None:
        """Return when a read may find something, or when the transport was closed.

        Cancelled here: safe to retry (nothing was read).
        """
        if self.is_closed:
            return
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except (trio.ClosedResourceError, OSError):
            return

    def read_nowait(self) -> bytes | None:
        if self.is_closed:
            return b""
        try:
            return self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self.failure = self.failure or f"receiving failed: {error.strerror}"
            return b""

    @property
    def has_peer_left(self) -> bool:
        if self.is_closed:
            return True
        try:
            state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except (OSError, AttributeError):
            return False
        return state in (_TCP_CLOSE, _TCP_CLOSE_WAIT)

    # --- writing ---

    def write_nowait(self, *pieces: bytes) -> None:
        if self.is_closed or self.is_broken:
            return
        if not self._unsent and len(pieces) == 1:
            [piece] = pieces
            sent = self._send(piece)
            if sent < len(piece):
                self._queue(memoryview(piece)[sent:])
            return
        is_idle = not self._unsent
        for piece in pieces:
            if piece:
                self._queue(memoryview(piece))
        if is_idle:
            self._send_queued()

    async def drain(self) -> None:
        """Wait until the kernel has every byte, or the connection is broken.

        Cancelled here: safe to retry (what was not taken stays queued).
        """
        seconds = self._write_timeout_seconds
        if seconds is None:
            while self._unsent and not self.is_broken and await self._wait_writable():
                self._send_queued()
            return
        while self._unsent and not (self.is_closed or self.is_broken):
            queued = self._queued_in_kernel()
            with trio.move_on_after(seconds) as scope:
                while self._unsent and not self.is_broken:
                    scope.deadline = trio.current_time() + seconds
                    if not await self._wait_writable():
                        return
                    self._send_queued()
            # The kernel says "writable" late: a slow reader of a large window frees it byte by byte long before.
            if scope.cancelled_caught and not self._queued_in_kernel() < queued:
                self.has_stalled = True
                self.abort()

    async def _wait_writable(self) -> bool:
        """Whether a write may be taken now; False when the transport was closed meanwhile.

        Cancelled here: safe to retry (nothing was sent).
        """
        if self.is_closed:
            return False
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except (trio.ClosedResourceError, OSError):
            return False
        return True

    def _queue(self, piece: memoryview) -> None:
        self._unsent.append(piece)
        self.unsent_bytes += len(piece)

    def _send_queued(self) -> None:
        """Send what the kernel takes of the queue."""
        unsent = self._unsent
        while unsent:
            pieces = [unsent[index] for index in range(min(len(unsent), _GATHERED_PIECES))]
            size = sum(map(len, pieces))
            sent = self._send(pieces[0]) if len(pieces) == 1 else self._send_gathered(pieces, size)
            if self.is_broken:
                return
            self.unsent_bytes -= sent
            left = sent
            while unsent and left >= len(unsent[0]):
                left -= len(unsent.popleft())
            if left:
                unsent[0] = unsent[0][left:]
            if sent < size:
                return

    def _send(self, piece: bytes | memoryview) -> int:
        try:
            return self._sock.send(piece)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.break_off()
            return len(piece)

    def _send_gathered(self, pieces: list[memoryview], size: int) -> int:
        try:
            return self._sock.sendmsg(pieces)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.break_off()
            return size

    def break_off(self) -> None:
        self.is_broken = True
        self._forget_unsent()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self.unsent_bytes = 0

    def _queued_in_kernel(self) -> int:
        """Bytes the kernel holds that the other end has not acknowledged; 0 where the system does not say."""
        if fcntl is None or self.is_closed:
            return 0
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
        except OSError:
            return 0

    # --- the end ---

    def write_eof(self) -> None:
        if self.is_closed or self.is_broken or self._unsent:
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.break_off()

    def close(self) -> None:
        """Close now; bytes the kernel has still go out unless the other end has sent bytes that nobody read."""
        if self.is_closed:
            return
        self.is_closed = True
        self._forget_unsent()
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def abort(self) -> None:
        if self.is_closed:
            return
        self.break_off()
        with contextlib.suppress(OSError):  # already gone
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


class StreamTransport:
    """Any trio stream with a synchronous ``close``, which lets the whole package run without a network, over
    ``trio.testing.memory_stream_pair``. ``stream`` belongs to the transport."""

    has_stalled = False
    has_peer_left = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._closes = _sync_closes(stream)
        self._arrived: bytes | None = None
        self._unsent: deque[bytes] = deque()
        self.is_closed = False
        self.is_broken = False
        self.failure: str | None = None

    async def wait_readable(self) -> None:
        """Receive what one read of the stream yields, for ``read_nowait``.

        Cancelled here: as the stream's ``receive_some``; of memory streams safe to retry (nothing was received).
        """
        if self._arrived is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            self._arrived = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.failure = self.failure or f"receiving failed: {error}"
            self._arrived = b""

    def read_nowait(self) -> bytes | None:
        arrived = self._arrived
        if arrived:  # the end stays
            self._arrived = None
        return arrived

    @property
    def unsent_bytes(self) -> int:
        return sum(map(len, self._unsent))

    def write_nowait(self, *pieces: bytes) -> None:
        if not (self.is_closed or self.is_broken):
            self._unsent.extend(piece for piece in pieces if piece)

    async def drain(self) -> None:
        """Send what is unsent. Cancelled here: destroys (an unknown part of the first piece was sent)."""
        while self._unsent:
            try:
                await self._stream.send_all(self._unsent.popleft())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.break_off()

    def write_eof(self) -> None:
        """Nothing: only some streams can."""

    def break_off(self) -> None:
        self.is_broken = True
        self._unsent.clear()

    def close(self) -> None:
        self.is_closed = True
        for close in self._closes:
            close()

    def abort(self) -> None:
        self.close()


def transport_over(stream: trio.abc.Stream) -> SocketTransport | StreamTransport:
    """The transport that fits ``stream``, which belongs to it from here on. Raises TypeError for a stream that has no
    synchronous ``close``: a cancelled task could not close it."""
    if not isinstance(stream, trio.SocketStream):
        return StreamTransport(stream)
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return SocketTransport(sock)


def _sync_closes(stream: trio.abc.Stream) -> tuple[Callable[[], object], ...]:
    """The synchronous ``close`` of ``stream``, or those of its two halves."""
    halves = (stream.send_stream, stream.receive_stream) if isinstance(stream, trio.StapledStream) else (stream,)
    closes = tuple(getattr(half, "close", None) for half in halves)
    if not all(callable(close) for close in closes):
        raise TypeError(f"{type(stream).__name__} has no synchronous close(), so a cancelled task could not close it")
    return tuple(close for close in closes if close is not None)
