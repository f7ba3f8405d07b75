"""An HTTP proxy on the way to the upstreams, by configuration only: HTTP_PROXY and its kin are never read.

Requests to ``http`` origins go to the proxy in absolute form. For ``https`` a tunnel is opened with CONNECT: the proxy
sees host and port and nothing else.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from relay_trio.errors import RelayError, UpstreamConnectError, UpstreamError
from relay_trio.upstream.head_encoding import authority
from relay_trio.upstream.http1 import UpstreamConnection

if TYPE_CHECKING:
    from relay_trio.net.transport import Transport
    from relay_trio.upstream.http1 import Origin

_UNREACHED = "the upstream cannot be reached"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is. ``authorization`` is the value of ``proxy-authorization``, or None."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    def fields(self) -> bytes:
        """The proxy's own header lines."""
        return b"" if self.authorization is None else b"proxy-authorization: %b\r\n" % self.authorization


def proxy_at(url: str) -> Proxy:
    """The proxy of ``http://user:password@host:port``.

    Raises:
        RelayError: not such a URL (the message does not repeat it, because it may hold a password).
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme != "http" or parts.path not in ("", "/") or parts.query:
        raise RelayError("the proxy must be given as http://host:port or http://user:password@host:port")
    authority("http", host, port)
    authorization = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(user.encode())
    return Proxy(host, port, authorization)


def absolute_target(origin: Origin, target: bytes) -> bytes:
    """``target`` in the form for a proxy (RFC 9112 section 3.2.2)."""
    return b"%b://%b%b" % (origin[0].encode(), authority(*origin), target)


async def open_tunnel(proxy: Proxy, transport: Transport, origin: Origin) -> None:
    """Ask the proxy at the other end of ``transport`` for a tunnel to ``origin``.

    Raises:
        UpstreamConnectError: the proxy refused, or what it said is no answer.

    Cancelled here: destroys (``transport`` must be closed).
    """
    _, host, port = origin
    name = b"[%b]:%d" % (host.encode(), port) if ":" in host else b"%b:%d" % (host.encode(), port)
    head = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (name, name, proxy.fields())
    connection = UpstreamConnection(transport, origin)
    try:
        answer = await connection.call("CONNECT", head, b"")
    except UpstreamError as error:
        detail = f"the proxy {proxy.host}:{proxy.port} gave no answer: {error}"
        raise UpstreamConnectError(_UNREACHED, detail=detail) from error
    status = answer.head.status
    answer.detach()
    if status >= 300:
        detail = f"the proxy {proxy.host}:{proxy.port} refused the tunnel with status {status}"
        raise UpstreamConnectError(_UNREACHED, detail=detail)
    if connection.has_extra:
        detail = f"the proxy {proxy.host}:{proxy.port} sent bytes before the tunnel was used"
        raise UpstreamConnectError(_UNREACHED, detail=detail)
