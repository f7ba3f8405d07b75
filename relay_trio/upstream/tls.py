"""TLS towards an upstream: who is trusted, and a pipe that encrypts.

The certificate chain and the host name are always checked; there is no switch. Trust is the system's store, or a CA
file by configuration, which then is the only trust.

``trio.SSLStream`` is not used: it has no synchronous close, and it cannot tell whether a silent connection holds only
session tickets (TLS 1.3 servers send them after the handshake, so an idle socket may be readable and still be fine).
"""

from __future__ import annotations

import ssl
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

import trio

from relay_trio.upstream.pipe import RECEIVE_BYTES

if TYPE_CHECKING:
    from relay_trio.upstream.pipe import Pipe

ENCRYPT_BYTES = 64 * 1024
"""Plain bytes encrypted in one go: 32 MB at once would hold up every other task for tens of milliseconds."""


@lru_cache(maxsize=8)
def client_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The one context for all connections (making one reads the trust store: tens of milliseconds).

    Raises:
        OSError: ``ca_file`` cannot be read or holds no certificates (``ssl.SSLError`` is one).
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsPipe:
    """A pipe over ``inner``, which it owns. ``handshake`` comes first.

    Encrypting and handing to ``inner`` is one synchronous step, so that a reply to a key update, which is caused by
    reading, cannot get between the parts of a record that is being sent.
    """

    def __init__(self, inner: Pipe, context: ssl.SSLContext, host: str) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent: deque[memoryview] = deque()
        self._failure: str | None = None

    async def handshake(self) -> None:
        """Agree on keys and check the peer's certificate.

        Raises:
            ssl.SSLError: the peer is not trusted or does not speak TLS.

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
                is_sent = self._inner.send_nowait(self._outgoing.read())  # on failure: the alert that tells the peer
            if not is_sent:
                await self._inner.flush()
            if not is_done:
                await self._read_more("the peer closed the connection during the TLS handshake")

    def send_nowait(self, *data: bytes) -> bool:
        self._unsent.extend(memoryview(piece) for piece in data if piece)
        while self._unsent:
            if not self._encrypt_next():
                return False
        return True

    async def flush(self) -> None:
        """Send what is still unsent.

        Cancelled here: destroys (an unknown part was sent).
        """
        await self._inner.flush()
        while self._unsent:
            if not self._encrypt_next():
                await self._inner.flush()

    def _encrypt_next(self) -> bool:
        view = self._unsent.popleft()
        if len(view) > ENCRYPT_BYTES:
            self._unsent.appendleft(view[ENCRYPT_BYTES:])
            view = view[:ENCRYPT_BYTES]
        try:
            self._tls.write(view)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS failed: {error.reason}") from error
        return self._inner.send_nowait(self._outgoing.read())

    async def receive_some(self) -> bytes:
        """What one read yields, decrypted; ``b""`` after the peer's close_notify.

        An end without close_notify may be an attacker's cut, so it is a broken connection; an answer that knows its own
        length was complete before, and is not read further.

        Cancelled here: safe to retry (nothing was read).
        """
        if self._incoming.pending:
            await trio.lowlevel.checkpoint()
        while (data := self._decrypt()) is None:
            await self._read_more("the peer closed the connection without TLS close_notify")
        return data

    def receive_nowait(self) -> bytes | None:
        while (sealed := self._inner.receive_nowait()) is not None:
            if not sealed:
                return b""
            self._incoming.write(sealed)
        try:
            return self._decrypt()
        except trio.BrokenResourceError:
            return b""

    def close(self) -> None:
        self._inner.close()

    async def _read_more(self, at_end: str) -> None:
        """Cancelled here: safe to retry (nothing was read)."""
        sealed = await self._inner.receive_some()
        if not sealed:
            raise trio.BrokenResourceError(at_end)
        self._incoming.write(sealed)

    def _decrypt(self) -> bytes | None:
        """Everything that can be decrypted now, None for nothing, ``b""`` at close_notify."""
        if self._failure is not None:
            raise trio.BrokenResourceError(self._failure)
        pieces: list[bytes] = []
        is_ended = False
        try:
            while not is_ended:
                piece = self._tls.read(RECEIVE_BYTES)  # at most one record
                is_ended = not piece
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._failure = f"TLS failed: {error.reason}"
        if self._outgoing.pending:
            self._inner.send_nowait(self._outgoing.read())
        data = b"".join(pieces)
        if data or is_ended:
            return data
        if self._failure is not None:
            raise trio.BrokenResourceError(self._failure)
        return None
