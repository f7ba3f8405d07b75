"""TLS over a transport, with the record layer in memory, so that reads and writes stay synchronous.

``trio.SSLStream`` is not used: it has no synchronous close, and it cannot say whether a silent connection holds only
session tickets (TLS 1.3 servers send them after the handshake, so an idle socket may be readable and still be fine).
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from typing import TYPE_CHECKING

import trio

from relay_trio.net.transport import RECEIVE_BYTES

if TYPE_CHECKING:
    from relay_trio.net.transport import Transport

ENCRYPT_BYTES = 64 * 1024
"""Plain bytes encrypted in one go: 32 MB at once would hold up every other task for tens of milliseconds."""


class TlsTransport:
    """TLS over ``inner``, which it owns. ``handshake`` comes first.

    ``server_hostname``: the name that the server must prove, which makes this the client's side; None on the server's.
    Renegotiation of TLS 1.2 must be off in ``context``: a write could then need a read first.

    Encrypting and handing to ``inner`` is one synchronous step, so that a reply to a key update, which is caused by
    reading, cannot get between the parts of a record that is being sent. Plain bytes wait here while ``inner`` still
    has some to send.
    """

    def __init__(self, inner: Transport, context: ssl.SSLContext, *, server_hostname: str | None = None) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self._plain: deque[memoryview] = deque()
        self._plain_bytes = 0
        self._has_more = False  # a read finds something without the socket
        self._is_ended = False
        self._failure: str | None = None

    @property
    def is_closed(self) -> bool:
        return self._inner.is_closed

    @property
    def is_broken(self) -> bool:
        return self._inner.is_broken

    @property
    def has_stalled(self) -> bool:
        return self._inner.has_stalled

    @property
    def failure(self) -> str | None:
        return self._failure if self._is_ended else self._inner.failure

    @property
    def has_peer_left(self) -> bool:
        return self._inner.has_peer_left

    @property
    def unsent_bytes(self) -> int:
        return self._plain_bytes + self._inner.unsent_bytes

    async def handshake(self) -> None:
        """Agree on keys, and check the certificate where this is the client's side.

        Raises:
            ssl.SSLError: the other end is not trusted or does not speak TLS as we do.
            ConnectionError: the connection ended meanwhile.

        Cancelled here: destroys.
        """
        is_done = False
        while not is_done:
            try:
                self._tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                pass
            finally:
                self._flush()  # on failure: the alert that says why
            await self._inner.drain()
            if not is_done:
                await self._inner.wait_readable()
                sealed = self._inner.read_nowait()
                if sealed == b"":
                    raise ConnectionError(
                        self._inner.failure or "the peer closed the connection during the TLS handshake"
                    )
                self._incoming.write(sealed or b"")
        self._has_more = self._incoming.pending > 0  # a request may come with the client's Finished

    async def wait_readable(self) -> None:
        """Return when a read may find something; at once while decrypted bytes are left.

        Cancelled here: safe to retry (nothing was read).
        """
        if self._has_more:
            await trio.lowlevel.checkpoint()
            return
        await self._inner.wait_readable()

    def read_nowait(self) -> bytes | None:
        """What has arrived, decrypted: up to 64 KiB, ``b""`` at the end, None when there is nothing yet.

        An end without close_notify may be an attacker's cut: ``failure`` then says so. Damage is an end with a
        failure too, after what was decrypted before it.
        """
        while not self._is_ended:
            if not self._has_more:
                sealed = self._inner.read_nowait()
                if sealed is None:
                    return None
                if not sealed:
                    self._end(self._inner.failure or "the peer closed the connection without TLS close_notify")
                    return b""
                self._incoming.write(sealed)
            data = self._decrypt()
            if data:
                return data
        return b""

    def _decrypt(self) -> bytes:
        """What can be decrypted now, up to the bound of one read."""
        parts: list[bytes] = []
        size = 0
        self._has_more = False
        try:
            while size < RECEIVE_BYTES:
                part = self._tls.read(RECEIVE_BYTES)  # at most one record
                if not part:
                    self._end(None)
                    break
                parts.append(part)
                size += len(part)
            else:
                self._has_more = True
        except ssl.SSLWantReadError:
            self._flush()  # session tickets, key updates
        except (ssl.SSLError, OSError) as error:
            self._end(f"TLS failed: {_reason(error)}")
            self._flush()
        return b"".join(parts)

    def _end(self, failure: str | None) -> None:
        """Nothing more will be read."""
        self._is_ended = self._has_more = True
        self._failure = failure

    def write_nowait(self, *pieces: bytes) -> None:
        if self._inner.is_closed or self._inner.is_broken:
            return
        for piece in pieces:
            if not piece:
                continue
            if self._plain or len(piece) > ENCRYPT_BYTES or self._inner.unsent_bytes:
                self._plain.append(memoryview(piece))
                self._plain_bytes += len(piece)
                self._encrypt_queued()
            else:
                self._encrypt(piece)

    async def drain(self) -> None:
        """Wait until the kernel has every byte, or the connection is broken.

        Cancelled here: safe to retry (what was not taken stays queued).
        """
        await self._inner.drain()
        while self._plain and not (self._inner.is_broken or self._inner.is_closed):
            self._encrypt_queued()
            await trio.lowlevel.checkpoint()  # a kernel that takes everything must not keep the loop for a whole body
            await self._inner.drain()

    def _encrypt_queued(self) -> None:
        """Encrypt and hand over what is queued, until ``inner`` keeps some of it."""
        while self._plain and not self._inner.unsent_bytes and not self._inner.is_broken:
            view = self._plain.popleft()
            if len(view) > ENCRYPT_BYTES:
                self._plain.appendleft(view[ENCRYPT_BYTES:])
                view = view[:ENCRYPT_BYTES]
            self._plain_bytes -= len(view)
            self._encrypt(view)

    def _encrypt(self, piece: bytes | memoryview) -> None:
        try:
            self._tls.write(piece)
        except (ssl.SSLError, OSError):
            self._flush()
            self.break_off()
        else:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._inner.write_nowait(self._outgoing.read())

    def write_eof(self) -> None:
        """Send close_notify, and a FIN where the kernel took it."""
        if not (self.is_closed or self.is_broken or self.unsent_bytes):
            self._send_close_notify()
            self._inner.write_eof()

    def break_off(self) -> None:
        self._forget_plain()
        self._inner.break_off()

    def close(self) -> None:
        """Close now, with a close_notify where the other end can still take it."""
        if not (self.is_closed or self.is_broken or self.unsent_bytes):
            self._send_close_notify()
        self._forget_plain()
        self._inner.close()

    def abort(self) -> None:
        self._forget_plain()
        self._inner.abort()

    def _forget_plain(self) -> None:
        self._plain.clear()
        self._plain_bytes = 0

    def _send_close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError, OSError):  # "want read": ours is written, the other's need not come
            self._tls.unwrap()
        self._flush()


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error)
