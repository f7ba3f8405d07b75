"""The head of an HTTP/1.1 response, and how the client will know where its body ends. No I/O.

The application's framing headers are not trusted: ``Transfer-Encoding``, ``Connection`` and their kin are ours to set.
"""

from __future__ import annotations

import re
import time
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.handlers import format_date_time

if TYPE_CHECKING:
    from collections.abc import Iterable

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"})
"""Ours to decide (RFC 9112); an application's `connection: close` is obeyed, not copied."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_BAD_IN_VALUE = re.compile(rb"[\x00\r\n]")
"""What a field value may not hold: anything that could end the line, or the whole head (response splitting)."""


class Framing(Enum):
    """How the end of a response body is marked."""

    NO_BODY = auto()  # HEAD, 204, 304: body bytes are dropped
    SIZED = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()  # HTTP/1.0 without a length


class BadResponse(Exception):
    """The application sent something that cannot be put on the wire."""


_date = (0, b"")


def date_value() -> bytes:
    """The ``date`` header's value, made once per second."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, format_date_time(now).encode())
    return _date[1]


def check_fields(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], int | None, bool]:
    """The fields that may go out (lower case), the declared length, and whether the application asks for a close.

    Raises:
        BadResponse: a name or a value would break the head, or the length is not one number.
    """
    fields: list[tuple[bytes, bytes]] = []
    content_length: int | None = None
    wants_close = False
    for raw_name, value in headers:
        name = raw_name.lower()
        if not _NAME.match(name) or _BAD_IN_VALUE.search(value):
            shown = ascii(name[:40].decode("latin-1"))
            raise BadResponse(f"response header {shown} has a name or a value that no header can have")
        if name in _HOP_BY_HOP:
            wants_close = wants_close or (name == b"connection" and b"close" in value.lower())
            continue
        if name == b"content-length":
            if not value.isdigit() or content_length not in (None, int(value)):
                raise BadResponse("content-length of the response must be one number")
            content_length = int(value)
            continue
        fields.append((name, value))
    return fields, content_length, wants_close


def forbids_body(method: str, status: int) -> bool:
    """True for the responses that have no body whatever their headers say (RFC 9112 section 6.3)."""
    return method == "HEAD" or status in (204, 304) or status < 200


def encode_response_head(
    status: int,
    fields: list[tuple[bytes, bytes]],
    content_length: int | None,
    framing: Framing,
    connection: bytes | None,
) -> bytes:
    """The bytes of a head; ``connection`` is the value of that header, None to leave it out."""
    lines = [b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, b"Unknown"))]
    has_date = False
    for name, value in fields:
        has_date = has_date or name == b"date"
        lines.append(name + b": " + value)
    if not has_date:
        lines.append(b"date: " + date_value())
    if content_length is not None and status != 204 and status >= 200:
        lines.append(b"content-length: %d" % content_length)
    if framing is Framing.CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    if connection is not None:
        lines.append(b"connection: " + connection)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def encode_refusal(status: int, reason: str) -> bytes:
    """A whole response of ours, for a request that no application will answer."""
    body = reason.encode() + b"\n"
    fields = [(b"content-type", b"text/plain; charset=utf-8")]
    return encode_response_head(status, fields, len(body), Framing.SIZED, b"close") + body
