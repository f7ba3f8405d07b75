"""An HTTP/1.1 client that can hang up in every way and at every moment: the demo's, the storm's, the tests'.

::

    client = await open_client(address)          how it can leave from here on
    await client.send(head[:20])                 in mid-head, and after ``head + body[:20]`` in mid-body
    await client.send(rest)                      while it waits
    answer = await client.receive_head()         before the body
    part = await client.receive_part(answer)     in mid-stream; or it stays and reads no more

    client.close()  FIN      client.reset()  RST      client.close_sending()  half-close      or it is cancelled

It sends the bytes that it is given, so it can say what no HTTP library would. It reads by h11, which forgives little.
How an answer ends is a value and no exception, because every end is one that somebody tests.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto

import h11
import trio

_RECEIVE_BYTES = 65536
_HEAD_BYTES = 1024 * 1024
_RESET_ON_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Way(Enum):
    """How a client leaves."""

    FIN = auto()
    RESET = auto()
    HALF_CLOSE = auto()


class Ended(Enum):
    """How the other side ended a connection."""

    EOF = auto()
    RESET = auto()
    JUNK = auto()  # it sent what is not HTTP, and may live on


@dataclass(slots=True)
class Answer:
    """One answer as far as it was read.

    ``is_whole``: its framing says that it is complete; one that ends with the connection never says so. ``ended``: what
    came in place of the rest.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    received: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    ended: Ended | None = None

    def header(self, name: bytes) -> bytes | None:
        """The only value of ``name`` (lower case), or None."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name!r} stands {len(values)} times"
        return values[0] if values else None

    @property
    def body(self) -> bytes:
        return bytes(self.received)

    def tail(self, size: int) -> bytes:
        """The last bytes of the body, at most ``size``."""
        return bytes(self.received[-size:])


class HttpClient:
    """One connection. ``sock`` is the socket below ``stream``, which may be TLS.

    ``ended``: how the other side ended it, as far as it was read.
    """

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self.stream = stream
        self.sock = sock
        self.ended: Ended | None = None
        self._has_left = False
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)

    async def send(self, data: bytes) -> None:
        """Send bytes that need not be a request.

        Raises:
            trio.BrokenResourceError: the connection is gone.

        Cancelled here: destroys; some of ``data`` was sent.
        """
        await self.stream.send_all(data)

    @property
    def can_go_on(self) -> bool:
        """Whether the last answer that was begun was read to its end, and both sides left the connection open."""
        return not self._has_left and self.ended is None and self._parser.their_state is h11.DONE

    async def receive_head(self, method: str = "POST") -> Answer | None:
        """The head of the next answer, to a request of that ``method``; None if the connection ends before.

        Cancelled here: safe to retry.
        """
        if not self._expect_answer(method):
            if self.ended is None:
                await self.wait_closed()
            return None
        while True:
            event = await self._next_event()
            if event is None:
                return None
            if isinstance(event, h11.Response):
                return Answer(event.status_code, list(event.headers))

    async def receive_part(self, answer: Answer) -> bytes:
        """The next part of the body, which is added to the answer; empty at the end, whichever it is.

        Cancelled here: safe to retry.
        """
        event = await self._next_event()
        if isinstance(event, h11.Data):
            answer.received += event.data
            return bytes(event.data)
        answer.is_whole = isinstance(event, h11.EndOfMessage)
        answer.ended = self.ended
        return b""

    async def receive_answer(self, method: str = "POST") -> Answer | None:
        """The next answer, read until it ends; None if the connection ends before one begins.

        Cancelled here: destroys; what was read is lost.
        """
        answer = await self.receive_head(method)
        if answer is not None:
            while await self.receive_part(answer):
                pass
        return answer

    async def wait_closed(self) -> Ended:
        """Read and drop until the other side ends the connection, and say how. Cancelled here: safe to retry."""
        while self.ended in (None, Ended.JUNK):
            await self._receive()
        assert self.ended is not None
        return self.ended

    def close_sending(self) -> None:
        """Half-close: a FIN, while reading goes on."""
        self._has_left = True
        with suppress(OSError):  # reset by the other side a moment ago
            self.sock.shutdown(socket.SHUT_WR)

    def open_window(self) -> None:
        """Let the kernel receive as much as it likes from now on. The other side's FIN stands behind what it had sent
        before, and on a busy machine the kernel takes half a minute to bring 64 KiB through the smallest window."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)

    def close(self) -> None:
        """Leave with FIN. Synchronous, so that it works in a cancelled task; may be called again."""
        self._has_left = True
        self.sock.close()

    def reset(self) -> None:
        """Leave with RST. Synchronous, as ``close`` is."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def leave(self, way: Way) -> None:
        """Leave in that ``way``, of which a half-close still has to be followed by ``close``."""
        {Way.FIN: self.close, Way.RESET: self.reset, Way.HALF_CLOSE: self.close_sending}[way]()

    # --- reading --------------------------------------------------------------------------------------------------

    def _expect_answer(self, method: str) -> bool:
        """Make the parser believe in a request, as it knows nothing of what was sent; False if it expects no answer."""
        parser = self._parser
        if parser.our_state is h11.DONE and parser.their_state is h11.DONE:
            parser.start_next_cycle()
        if parser.our_state is h11.IDLE:
            parser.send(h11.Request(method=method, target="/", headers=[("host", "any")]))
            parser.send(h11.EndOfMessage())
        return self.ended is None and parser.their_state is h11.SEND_RESPONSE

    async def _next_event(self) -> h11.Event | None:
        """The parser's next event; None when the connection ends before it. Cancelled here: safe to retry."""
        while self.ended is None:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError:
                self.ended = Ended.JUNK
                return None
            if event is not h11.NEED_DATA:
                assert isinstance(event, h11.Event)
                return event
            data = await self._receive()
            if data:
                self._parser.receive_data(data)
            elif self._parser.their_state is h11.SEND_RESPONSE and self._parser.trailing_data[0]:
                self.ended = Ended.JUNK  # half a head
        return None

    async def _receive(self) -> bytes:
        """Bytes, or none when the connection has ended. Cancelled here: safe to retry."""
        try:
            data = await self.stream.receive_some(_RECEIVE_BYTES)
        except trio.BrokenResourceError:
            self.ended = Ended.RESET
            return b""
        if not data:
            self.ended = Ended.EOF
        return bytes(data)


async def open_client(address: tuple[str, int], *, receive_buffer_bytes: int | None = None) -> HttpClient:
    """A connection to ``address``; with the smallest receive buffer there is for 1, and the kernel's own for None.

    Raises:
        OSError: nobody listens there.

    Cancelled here: atomic.
    """
    sock = trio.socket.socket()
    try:
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return HttpClient(trio.SocketStream(sock), sock)
