"""A request head as bytes: what the caller gave, ``host`` and ``content-length``, nothing else.

No cookies, no accept-encoding, no credentials from anywhere. What could split a request is refused here,
as the relay's own fault: nothing a client sends may come this far, so a refusal is a defect and shows as one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from relay_trio.errors import RelayError

if TYPE_CHECKING:
    from relay_trio.http import UpstreamRequest

DEFAULT_PORTS = {"http": 80, "https": 443}

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_TARGET = re.compile(rb"/[\x21\x22\x24-\x7e\x80-\xff]*|\*")  # no white space, no control characters, no fragment
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?")
_OURS = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"te"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def request_head(request: UpstreamRequest, target: bytes | None = None, more: bytes = b"") -> bytes:
    """The head of ``request``, up to and with the empty line.

    ``target`` is sent instead of the request's own, for a proxy. ``more`` are further header lines: the relay's user
    agent, and a proxy's.

    Raises:
        RelayError: a name, value, target, host or method that must not go on a wire.
    """
    if not _is_method(request.method):
        raise RelayError("a request to an upstream has a method that is not a token")
    if _TARGET.fullmatch(request.target) is None:
        raise RelayError("a request to an upstream has a target with characters that HTTP does not allow")
    fields = [b"%b: %b\r\n" % field for field in request.headers]
    block = b"".join(fields)
    breaks = len(fields)
    if block.count(b"\n") != breaks or block.count(b"\r") != breaks or b"\0" in block:
        raise RelayError("a request to an upstream has a header value with a line break or NUL in it")
    for name, _ in request.headers:
        if not _is_name(name):
            shown = ascii(name[:40].decode("latin-1"))
            raise RelayError(f"a request to an upstream has the header name {shown}, which it must not have")
    if request.body or request.method in _WITH_BODY:
        block += b"content-length: %d\r\n" % len(request.body)
    method, host = request.method.encode(), authority(request.scheme, request.host, request.port)
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (method, target or request.target, host, block + more)


@lru_cache(maxsize=1024)
def authority(scheme: str, host: str, port: int) -> bytes:
    """What goes into ``host``: the port only where it is not the scheme's own.

    Raises:
        RelayError: not a scheme, host or port that can be connected to.
    """
    if scheme not in DEFAULT_PORTS or not 0 < port < 65536 or _HOST.fullmatch(host) is None:
        raise RelayError("a request to an upstream has no usable scheme, host and port")
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    return (name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}").encode("ascii")


@lru_cache(maxsize=1024)
def _is_name(name: bytes) -> bool:
    return _TOKEN.fullmatch(name) is not None and name.lower() not in _OURS


@lru_cache(maxsize=64)
def _is_method(method: str) -> bool:
    return method.isascii() and _TOKEN.fullmatch(method.encode()) is not None and method != "CONNECT"
