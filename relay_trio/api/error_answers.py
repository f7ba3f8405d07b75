"""What dialects share when they pass an upstream's error answer on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.api.inflater import Inflater
from relay_trio.http import header

if TYPE_CHECKING:
    from relay_trio.http import Headers, ResponseHead

_OURS_ALONE = frozenset({b"content-length", b"content-encoding", b"content-type", b"retry-after"})
"""Header fields about the body, which may be ours, and about the time to wait, which is the dialect's to express."""


def plain_body(head: ResponseHead, body: bytes) -> bytes:
    """``body`` without compression."""
    return Inflater().feed(body) if header(head.headers, b"content-encoding") == b"gzip" else body


def merged_headers(theirs: Headers, ours: Headers) -> Headers:
    """The upstream's headers, but for those in ``_OURS_ALONE``; then ours, but for those that the upstream has."""
    kept = [pair for pair in theirs if pair[0] not in _OURS_ALONE]
    names = {name for name, _ in kept}
    return [*kept, *(pair for pair in ours if pair[0] not in names)]
