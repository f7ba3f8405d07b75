"""The head of a request, and the reading of an HTTP/1.1 one: bytes in, a ``RequestHead`` or a ``BadRequestHead`` out.

No I/O. Two rules. *What llhttp lets through is not yet accepted*: everything a proxy in front of us could read in
another way (Content-Length with Transfer-Encoding, folded lines, a bare LF, a second Host) is refused, because the
difference is where a smuggled request hides. *The head is whole before it is parsed*: its end is found by searching for
the empty line, so its size is checked before any work is done, and a body is never fed to the parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from relay_trio.http import Headers

_REFUSED_METHODS = frozenset({b"CONNECT", b"PRI", b"SOURCE"})
"""Known to llhttp, but not methods of an HTTP origin server."""

_NOT_TAKEN_AWAY = frozenset({b"close", b"keep-alive", b"host", b"content-length", b"transfer-encoding"})
"""What ``Connection`` may name without taking a field away: its options, and fields that a request is not the same
without."""

_TARGET = re.compile(rb"/[!-\"$-~]*\Z")
"""Origin form only: a proxy reads the absolute form's authority, we would read Host. No fragment, nothing
unprintable."""

_HOST = re.compile(rb"[!-~]*\Z")
_LENGTH_DIGITS = 15


@dataclass(slots=True)
class RequestHead:
    """One request as it was sent, and how its body is framed. ``content_length`` is None when absent."""

    method: str
    raw_path: bytes
    query: bytes
    http_version: str
    headers: Headers
    content_length: int | None = None
    has_body: bool = False
    is_chunked: bool = False
    wants_keep_alive: bool = True
    expects_continue: bool = False


class BadRequestHead(Exception):
    """The request is refused before any application sees it; ``status`` is 400, 417, 431, 501 or 505."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Collector:
    """What llhttp reports about one head."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))


def parse_content_length(value: bytes) -> int | None:
    """The number in a Content-Length, or None (RFC 9110 section 8.6: digits, nothing else)."""
    return int(value) if len(value) <= _LENGTH_DIGITS and value.isdigit() else None


def has_bare_line_feed(received: bytes | bytearray) -> bool:
    """True when a line in ``received`` ends without a carriage return, so that no head can come of it."""
    return received.count(b"\n") != received.count(b"\r\n")


def parse_request_head(head: bytes, max_fields: int) -> RequestHead:
    """Parse one complete head, the empty line included.

    Raises:
        BadRequestHead: it is not a request, or two readers could take it for different ones.
    """
    lines = head.count(b"\r\n")
    if lines != head.count(b"\n") or lines != head.count(b"\r"):
        raise BadRequestHead(400, "a line must end in CR LF")
    if lines - 2 > max_fields:
        raise BadRequestHead(431, f"more than {max_fields} header fields")
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # we speak no other protocol: the request is served as if it had not offered one
    except httptools.HttpParserError as error:
        raise BadRequestHead(_status_of_refusal(head), str(error)) from None
    method: bytes = parser.get_method()
    version: str = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise BadRequestHead(505, "HTTP version must be 1.0 or 1.1")
    if method in _REFUSED_METHODS:
        raise BadRequestHead(501, "this method is not served")
    # llhttp skips runs of spaces in the request line; a proxy may take the second one for the start of the target.
    if not head.startswith(b"%b %b HTTP/%b\r\n" % (method, collector.target, version.encode())):
        raise BadRequestHead(400, "the request line must be a method, a target and a version, with one space between")
    if not _TARGET.match(collector.target):
        raise BadRequestHead(400, "the target must be a path in origin form")
    path, _, query = collector.target.partition(b"?")
    request = RequestHead(method.decode(), path, query, version, collector.headers, wants_keep_alive=version == "1.1")
    _read_framing(request)
    return request


def _status_of_refusal(head: bytes) -> int:
    version = head.partition(b"\r\n")[0].rpartition(b" ")[2]
    is_other_version = re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version) and version not in (b"HTTP/1.0", b"HTTP/1.1")
    return 505 if is_other_version else 400


def _read_framing(request: RequestHead) -> None:
    hosts = 0
    hop_by_hop: frozenset[bytes] = frozenset()
    for name, value in request.headers:
        if name == b"content-length":
            length = parse_content_length(value)
            if length is None or request.content_length is not None:
                raise BadRequestHead(400, "Content-Length must be one number")
            request.content_length = length
        elif name == b"transfer-encoding":
            if request.is_chunked or value.lower() != b"chunked" or request.http_version == "1.0":
                raise BadRequestHead(400, "the only transfer coding is one 'chunked', in HTTP/1.1")
            request.is_chunked = True
        elif name == b"host":
            hosts += 1
            if not _HOST.match(value):
                raise BadRequestHead(400, "Host holds a character that no authority has")
        elif name == b"connection":
            options = {option.strip() for option in value.lower().split(b",")}
            hop_by_hop |= options - _NOT_TAKEN_AWAY
            if b"close" in options:
                request.wants_keep_alive = False
            elif b"keep-alive" in options and request.http_version == "1.0":
                request.wants_keep_alive = True
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadRequestHead(417, "the only expectation is 100-continue")
            request.expects_continue = request.http_version == "1.1"
    if request.is_chunked and request.content_length is not None:
        raise BadRequestHead(400, "Content-Length and Transfer-Encoding contradict each other")
    if hosts > 1 or (hosts == 0 and request.http_version == "1.1"):
        raise BadRequestHead(400, "HTTP/1.1 needs one Host")
    if hop_by_hop:  # RFC 9110 section 7.6.1: what it names is not for those behind us
        request.headers = [field for field in request.headers if field[0] not in hop_by_hop]
    request.has_body = request.is_chunked or bool(request.content_length)
    request.expects_continue = request.expects_continue and request.has_body
