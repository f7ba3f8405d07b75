"""One client's request: one object from the moment its head is read until it is settled.

The server makes it, once; routing, authentication, the pump, the log and the ledger hold it. The vendors, which know no
server, are given what they need of it as a ``CheckedRequest``: the same objects, not copied. Nothing else repeats what
it says.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    import trio

    from relay_trio.http import Headers
    from relay_trio.outcome import DisconnectReason
    from relay_trio.server.request_head import RequestHead
    from relay_trio.server.stream import ServerStream

_ID_BYTES = 12
_CLIENT_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_CLIENT_ID_LENGTH = 128


class ClientRequest:
    """A request, the body that arrives with it, and the stream that its answer goes out on.

    ``began_at`` is when its head was read (``time.monotonic``, seconds). ``id`` is ours, ``req_`` and 96 random bits.
    ``client_request_id`` is the client's own (``x-request-id``) if it is
    safe to write anywhere, else empty. ``raw_path`` and ``query`` are the bytes of the request line, escapes untouched;
    ``path`` is the decoded path. Header names are in lower case, in the order in which they came. ``declared_bytes`` is
    the body's ``content-length``, None without one.
    """

    __slots__ = (
        "began_at",
        "client_request_id",
        "declared_bytes",
        "headers",
        "http_version",
        "id",
        "method",
        "nursery",
        "path",
        "query",
        "raw_path",
        "scheme",
        "stream",
    )

    def __init__(self, head: RequestHead, scheme: str, stream: ServerStream) -> None:
        text = head.raw_path.decode("latin-1")
        self.began_at = time.monotonic()
        self.id = f"req_{secrets.token_hex(_ID_BYTES)}"
        self.client_request_id = _client_request_id(head.headers)
        self.method = head.method
        self.scheme = scheme
        self.path = unquote(text) if "%" in text else text
        self.raw_path = head.raw_path
        self.query = head.query
        self.headers: Headers = head.headers
        self.http_version = head.http_version
        self.declared_bytes = head.content_length
        self.stream = stream
        self.nursery: trio.Nursery | None = None
        """The tasks of this request, cancelled when its client is lost; the application puts it here."""

    @property
    def disconnected_at(self) -> float | None:
        """When the loss of the client was seen (trio clock, seconds); None while it is connected."""
        return self.stream.disconnected_at

    @property
    def disconnect_reason(self) -> DisconnectReason | None:
        """Why the client is no longer connected."""
        return self.stream.disconnect_reason

    @property
    def body_has_arrived(self) -> bool:
        """Whether the body's last byte is here, taken or not."""
        return self.stream.body_has_arrived

    async def receive_body_some(self) -> bytes:
        """What arrived of the body since the last call, ``b""`` at its end. The caller bounds size and time.

        A client that waits with ``Expect: 100-continue`` is sent it now. The bytes that are taken make room for
        more; those that nobody takes wait at the client, but for ``ConnectionLimits.max_body_buffer_bytes``.

        Never returns once the client is lost, whose request is cancelled then. Cancelled here: safe to retry.
        """
        return await self.stream.receive_body_some()


def _client_request_id(headers: Headers) -> str:
    for name, value in headers:
        if name == b"x-request-id" and 0 < len(value) <= _CLIENT_ID_LENGTH:
            text = value.decode("latin-1")
            return text if _CLIENT_ID_CHARACTERS.issuperset(text) else ""
    return ""
