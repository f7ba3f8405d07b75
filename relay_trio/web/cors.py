"""Browsers: which pages of other origins may read answers (the Fetch standard, "CORS protocol").

Off unless origins are configured. A page is named exactly, and never given leave to send cookies: a relay key goes in a
header, which a page has to be allowed to send.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quart import Response

from relay_trio.http import header, header_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay_trio.http import ClientHead

_METHODS = "GET, HEAD, POST, DELETE"
_REMEMBERED_SECONDS = 600
_FIELD_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}", re.ASCII)
_READ_ANYWAY = frozenset({"cache-control", "connection", "content-length", "content-type", "vary"})
"""Fields that a page may always read, and fields that say nothing to it. The others have passed an allow-list."""


def preflight(head: ClientHead, origins: Collection[str]) -> Response | None:
    """The answer to a browser that asks, without a key, whether a page may send its request; None where it is no such
    request, or the page is not one of ``origins``."""
    if head.method != "OPTIONS" or _allowed(head, origins) is None:
        return None
    if header(head.headers, b"access-control-request-method") is None:
        return None
    response = Response(b"", status=204)
    response.headers.clear()
    response.headers["access-control-allow-methods"] = _METHODS
    response.headers["access-control-max-age"] = str(_REMEMBERED_SECONDS)
    names = header_text(head.headers, b"access-control-request-headers")
    if _FIELD_NAMES.fullmatch(names):
        response.headers["access-control-allow-headers"] = names
    return response


def allow(response: Response, head: ClientHead, origins: Collection[str]) -> None:
    """Let the page that ``head`` comes from read ``response``, if it is one of ``origins``. Caches learn that others
    get another answer."""
    response.headers.add("vary", "origin")
    origin = _allowed(head, origins)
    if origin is None:
        return
    response.headers["access-control-allow-origin"] = origin
    names = dict.fromkeys(name.lower() for name, _ in response.headers)
    exposed = [name for name in names if name not in _READ_ANYWAY and not name.startswith("access-control-")]
    if exposed:
        response.headers["access-control-expose-headers"] = ", ".join(exposed)


def _allowed(head: ClientHead, origins: Collection[str]) -> str | None:
    origin = header_text(head.headers, b"origin")
    return origin if origin in origins else None
