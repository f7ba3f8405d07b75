"""One client's socket, plain or TLS: reads that may find nothing, writes that never wait, and one place that waits.

``write_nowait`` takes the bytes over at once: to the kernel as far as it takes them, the rest into a buffer here that
the next write goes behind. So no cancellation can leave half a chunk on the wire, and whoever writes decides when to
``drain``. The buffer stays small because writers drain before they write on.

Sockets are the standard library's, non-blocking: a trio socket costs a checkpoint per call even when it need not wait.
A lost client is not an error here: writes become no-ops, ``is_broken`` says so, and the reader finds the end.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

import trio

try:
    import fcntl
    import termios
except ImportError:  # pragma: no cover - not on Windows
    fcntl = None  # type: ignore[assignment]

RECEIVE_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8  # include/net/tcp_states.h


class Transport:
    """A plain connection."""

    is_tls = False

    def __init__(self, sock: socket.socket, write_timeout_seconds: float) -> None:
        self._sock = sock
        self._write_timeout_seconds = write_timeout_seconds
        self._unsent = bytearray()
        self.is_closed = False
        self.is_broken = False  # a write failed, or the client took nothing for too long
        self.has_stalled = False  # ... the latter

    # --- reading ---

    async def wait_readable(self) -> None:
        """Return when a read may find something, or when the transport was closed.

        Cancelled: safe to retry, nothing was read.
        """
        if self.is_closed:
            return
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except (trio.ClosedResourceError, OSError):
            return

    def read_nowait(self) -> bytes | None:
        """What has arrived; None when that is nothing yet, ``b""`` when nothing will come any more."""
        if self.is_closed:
            return b""
        try:
            return self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    @property
    def peer_has_left(self) -> bool:
        """True when the kernel knows of a FIN or RST, even behind bytes that were not read (Linux only)."""
        if self.is_closed:
            return True
        try:
            state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except (OSError, AttributeError):
            return False
        return state in (_TCP_CLOSE, _TCP_CLOSE_WAIT)

    # --- writing ---

    @property
    def unsent_bytes(self) -> int:
        """Bytes taken over that the kernel has not."""
        return len(self._unsent)

    def write_nowait(self, data: bytes) -> None:
        """Take ``data`` over; one system call when the socket takes it all."""
        if self.is_closed or self.is_broken:
            return
        if self._unsent:
            self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]

    async def drain(self) -> None:
        """Wait until the kernel has every byte; resets the connection when the client takes none for too long.

        One task at a time. Cancelled: safe to retry, what was not taken stays in the buffer.
        """
        while self._unsent and not (self.is_closed or self.is_broken):
            queued = self._queued_in_kernel()
            with trio.move_on_after(self._write_timeout_seconds) as scope:
                while self._unsent and not self.is_broken:
                    scope.deadline = trio.current_time() + self._write_timeout_seconds
                    try:
                        await trio.lowlevel.wait_writable(self._sock)
                    except (trio.ClosedResourceError, OSError):
                        return
                    del self._unsent[: self._send(self._unsent)]
            # The kernel says "writable" late: a slow reader of a large window frees it byte by byte long before.
            if scope.cancelled_caught and not self._queued_in_kernel() < queued:
                self.has_stalled = True
                self.abort()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._break()
            return len(data)

    def _break(self) -> None:
        self.is_broken = True
        self._unsent.clear()

    def _queued_in_kernel(self) -> int:
        """Bytes the kernel holds for a client that has not acknowledged them; 0 where it cannot be asked."""
        if fcntl is None or self.is_closed:
            return 0
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
        except OSError:
            return 0

    # --- the end ---

    def write_eof(self) -> None:
        """Say that nothing more will come; reading goes on."""
        if not (self.is_closed or self.is_broken or self._unsent):
            self._shutdown()

    def _shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._break()

    def close(self) -> None:
        """Close; bytes the kernel has still go out unless the client has sent bytes that nobody read."""
        if self.is_closed:
            return
        self.is_closed = True
        self._unsent.clear()
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def abort(self) -> None:
        """Reset: the client cannot take what it has for a whole answer, and the kernel forgets what it still held."""
        if self.is_closed:
            return
        self._break()
        with contextlib.suppress(OSError):  # already gone
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


class TlsTransport(Transport):
    """The same over TLS, with the record layer in memory so that a write stays synchronous.

    TLS 1.2 renegotiation must be off in ``context``: a write could then need a read first.
    """

    is_tls = True

    def __init__(self, sock: socket.socket, write_timeout_seconds: float, context: ssl.SSLContext) -> None:
        super().__init__(sock, write_timeout_seconds)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._has_more = False

    async def handshake(self) -> bool:
        """Return True when the client and we agree; False when it is gone or speaks no TLS we know.

        Cancelled: destroys, the connection can only be closed.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
            except (ssl.SSLError, OSError):
                self._flush()  # the alert that says why
                return False
            else:
                self._flush()
                self._has_more = self._incoming.pending > 0  # a request may come with the client's Finished
                return True
            await self.wait_readable()
            received = super().read_nowait()
            if received == b"":
                return False
            self._incoming.write(received or b"")

    async def wait_readable(self) -> None:
        """As the plain one; returns at once while decrypted bytes are left. Cancelled: safe to retry."""
        if self._has_more:
            await trio.lowlevel.checkpoint()
            return
        await super().wait_readable()

    def read_nowait(self) -> bytes | None:
        """What has arrived, decrypted; an end without close_notify is an end all the same."""
        if not self._has_more:
            received = super().read_nowait()
            if not received:
                return received
            self._incoming.write(received)
        parts: list[bytes] = []
        size = 0
        self._has_more = False
        try:
            while size < RECEIVE_BYTES:
                part = self._tls.read(RECEIVE_BYTES)
                if not part:
                    break
                parts.append(part)
                size += len(part)
            else:
                self._has_more = True
        except ssl.SSLWantReadError:
            self._flush()  # session tickets, key updates
            return b"".join(parts) or None
        except (ssl.SSLError, OSError):
            self._flush()
            self._has_more = True  # the end: it is found again at once, whatever the socket does
        return b"".join(parts)

    def write_nowait(self, data: bytes) -> None:
        """Take ``data`` over, encrypted."""
        if self.is_closed or self.is_broken or not data:
            return
        try:
            self._tls.write(data)
        except (ssl.SSLError, OSError):
            self._break()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            super().write_nowait(self._outgoing.read())

    def close(self) -> None:
        """Close, with a close_notify if there is still somebody to tell."""
        if not (self.is_closed or self.is_broken or self._unsent):
            self._say_close_notify()
        super().close()

    def _shutdown(self) -> None:
        self._say_close_notify()
        if not self._unsent:
            super()._shutdown()

    def _say_close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError, OSError):  # "want read": ours is written, the client's need not come
            self._tls.unwrap()
        self._flush()
