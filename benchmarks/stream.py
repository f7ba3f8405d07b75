"""One client connection of the load generator. It finds the end of the head, the events and the end, nothing else.

A client of its own beside ``relay_trio.demo.http_client``, because that reads by h11: 22 µs for an event, of which this
one reads in 0.4 µs. The relay takes some 60 µs for one, so the generator would be what is measured.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass

from benchmarks.dialects import DIALECTS

_END = b"0\r\n\r\n"
_SEND_BUFFER_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where clients connect, and what they say; ``dialect`` is the name of one of ``DIALECTS``."""

    port: int
    headers: tuple[tuple[str, str], ...]
    tls: bool = False
    dialect: str = "claude"

    def request(self, target: str, body: bytes) -> bytes:
        """The bytes of a request."""
        lines = [f"POST {target} HTTP/1.1", f"host: 127.0.0.1:{self.port}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"content-length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body


class Stream:
    """A connection and the request on it. Times are monotonic nanoseconds, 0 is not yet."""

    __slots__ = (
        "_head",
        "_is_chunked",
        "_left_bytes",
        "_mark",
        "_tail",
        "_will_close",
        "body",
        "events",
        "first_ns",
        "head_ns",
        "is_done",
        "keep_body",
        "left_ns",
        "number",
        "sent_ns",
        "sock",
        "status",
    )

    def __init__(self, *, keep_body: bool = False) -> None:
        self.sock: socket.socket | None = None
        self.number = 0
        self.keep_body = keep_body
        self._will_close = False

    def open(self, target: Target, *, receive_buffer: int = 0) -> None:
        """Connect unless the last answer left the connection open."""
        self._mark = DIALECTS[target.dialect].mark
        if self.sock is not None and not self._will_close:
            return
        self.close()
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", target.port))
        if target.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        sock.setblocking(False)
        self.sock = sock

    def send(self, request: bytes, number: int) -> None:
        """Start a request; what does not fit the socket at once is waited for."""
        assert self.sock is not None
        self.number = number
        self.first_ns = self.head_ns = self.left_ns = self.events = self.status = 0
        self.is_done = self._is_chunked = False
        self._head = self._tail = self.body = b""
        self._left_bytes = -1
        self.sent_ns = time.monotonic_ns()
        sent = 0
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            sent = self.sock.send(request)
        if sent < len(request):
            self.sock.setblocking(True)
            self.sock.sendall(request[sent:])
            self.sock.setblocking(False)

    def receive(self) -> bool:
        """Take in what has arrived. False when the connection has ended."""
        assert self.sock is not None
        while True:
            try:
                data = self.sock.recv(262144)
            except (BlockingIOError, ssl.SSLWantReadError):
                return True
            except OSError:
                return False
            if not data:
                if self.status and not self._is_chunked and self._left_bytes < 0:
                    self.is_done = True
                return False
            self._feed(data)
            if self.is_done or not isinstance(self.sock, ssl.SSLSocket):
                return True  # TLS may hold more than the poll knows of, so it is read until it is empty

    def _feed(self, data: bytes) -> None:
        if not self.status:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self.head_ns = time.monotonic_ns()
            lower = head.lower()
            self.status = int(head[9:12])
            self._is_chunked = b"chunked" in lower
            self._will_close = b"connection: close" in lower
            at = lower.find(b"content-length:")
            if at >= 0:
                self._left_bytes = int(lower[at + 15 : (lower + b"\r\n").find(b"\r\n", at)])
            if not data:
                return
        if not self.first_ns:
            self.first_ns = time.monotonic_ns()
        if self.keep_body:
            self.body += data
        if self._is_chunked:
            seen = self._tail + data
            self.events += seen.count(self._mark)
            self.is_done = seen.endswith(_END)
            self._tail = seen[1 - len(self._mark) :]
        elif self._left_bytes >= 0:
            self._left_bytes -= len(data)
            self.is_done = self._left_bytes <= 0

    def leave(self, how: str) -> None:
        """Hang up: ``close``, ``half`` ends sending only, ``stall`` does nothing but stop."""
        assert self.sock is not None
        self.left_ns = time.monotonic_ns()
        if how == "half":
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
        elif how == "close":
            self.close()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        self._will_close = False


def unchunked(body: bytes) -> bytes:
    """The content of a whole chunked body."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        content, body = content + rest[:length], rest[length + 2 :]
    return content
