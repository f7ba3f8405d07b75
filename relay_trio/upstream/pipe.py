"""Bytes to and from one peer, with the synchronous half that trio's streams lack.

Three calls of a ``Pipe`` never wait: ``send_nowait``, ``receive_nowait`` and ``close``. They are what makes a request
one system call, a pooled connection testable before it is used again, and cleanup possible inside a cancelled task.

``SocketPipe`` works on the plain non-blocking socket. ``StreamPipe`` takes any trio stream that has a synchronous
``close``, which lets the whole package run on ``trio.testing.memory_stream_pair``.
A broken connection is ``trio.BrokenResourceError``, whatever it was underneath.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

RECEIVE_BYTES = 64 * 1024
"""Most bytes of one read."""

PEEK_BYTES = 4096
"""Most bytes of one read from a connection that should be silent."""


class Pipe(Protocol):
    """One connection; a task of its own may receive while another one flushes."""

    def send_nowait(self, *data: bytes) -> bool:
        """Take all of ``data`` and send what the peer takes now. False: ``flush`` must send the rest."""

    async def flush(self) -> None:
        """Send what is still unsent. Cancelled here: destroys (an unknown part was sent)."""

    async def receive_some(self) -> bytes:
        """What one read yields; ``b""`` at the peer's end. Cancelled here: safe to retry (nothing was read)."""

    def receive_nowait(self) -> bytes | None:
        """What has come already: None for nothing, ``b""`` when the peer closed or the connection broke."""

    def close(self) -> None:
        """Close now, without ceremony. May be called twice."""


class SocketPipe:
    """A TCP connection. Takes the socket out of ``stream``.

    Each read and each further write waits for readiness first: an answer is seldom there before it is waited for, so
    this is one system call less than trying first, and it makes every call a checkpoint that yields to other tasks.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._unsent: deque[memoryview] = deque()

    def send_nowait(self, *data: bytes) -> bool:
        self._unsent.extend(memoryview(piece) for piece in data if piece)
        return self._send_unsent()

    async def flush(self) -> None:
        """Send what is still unsent.

        Cancelled here: destroys (an unknown part was sent).
        """
        if not self._unsent:
            await trio.lowlevel.checkpoint()
        while self._unsent:
            await trio.lowlevel.wait_writable(self._socket)
            self._send_unsent()

    def _send_unsent(self) -> bool:
        unsent = self._unsent
        try:
            while unsent:
                view = unsent.popleft()
                sent = self._socket.send(view)
                if sent < len(view):
                    unsent.appendleft(view[sent:])
        except BlockingIOError:
            unsent.appendleft(view)
        except OSError as error:
            raise trio.BrokenResourceError(f"sending failed: {error.strerror}") from error
        return not unsent

    async def receive_some(self) -> bytes:
        """What one read yields; ``b""`` at the peer's end.

        Cancelled here: safe to retry (nothing was read).
        """
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"receiving failed: {error.strerror}") from error

    def receive_nowait(self) -> bytes | None:
        try:
            return self._socket.recv(PEEK_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class StreamPipe:
    """Any trio stream with a synchronous ``close``, such as one half of ``trio.testing.memory_stream_pair``."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._closes = _sync_closes(stream)
        self._unsent: deque[bytes] = deque()

    def send_nowait(self, *data: bytes) -> bool:
        self._unsent.extend(piece for piece in data if piece)
        return not self._unsent

    async def flush(self) -> None:
        """Send what is still unsent.

        Cancelled here: destroys (an unknown part was sent).
        """
        if not self._unsent:
            await trio.lowlevel.checkpoint()
        while self._unsent:
            await self._stream.send_all(self._unsent.popleft())

    async def receive_some(self) -> bytes:
        """What one read yields; ``b""`` at the peer's end.

        Cancelled here: safe to retry (nothing was read).
        """
        return bytes(await self._stream.receive_some(RECEIVE_BYTES))

    def receive_nowait(self) -> bytes | None:
        return None

    def close(self) -> None:
        for close in self._closes:
            close()


def pipe_over(stream: trio.abc.Stream) -> Pipe:
    """The pipe that fits ``stream``, which belongs to the pipe from here on."""
    return SocketPipe(stream) if isinstance(stream, trio.SocketStream) else StreamPipe(stream)


def _sync_closes(stream: trio.abc.Stream) -> tuple[Callable[[], object], ...]:
    """The synchronous ``close`` of ``stream``, or those of its two halves."""
    halves = (stream.send_stream, stream.receive_stream) if isinstance(stream, trio.StapledStream) else (stream,)
    closes = tuple(getattr(half, "close", None) for half in halves)
    if not all(callable(close) for close in closes):
        raise TypeError(f"{type(stream).__name__} has no synchronous close(), so a cancelled task could not close it")
    return tuple(close for close in closes if close is not None)
