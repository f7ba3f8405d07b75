"""A request's body as it was before the client compressed it: gzip, within the limit that every body has.

A small body can hold a large one, some thousand times its size. So it is inflated in slices with a checkpoint after
each, and no further than the limit.
"""

from __future__ import annotations

import zlib

import trio

from relay_trio.errors import BadRequest, BodyTooLarge, UnsupportedEncoding

_WINDOW_BYTES = 64 * 1024
_SLICE_BYTES = 256 * 1024
"""Inflated between two checkpoints: less than a millisecond."""

_GZIP = zlib.MAX_WBITS | 16


def check_encoding(encoding: bytes | None) -> bool:
    """Whether a body with this ``content-encoding`` has to be inflated; None: it has none.

    Raises:
        UnsupportedEncoding: it is one that is not accepted.
    """
    name = (encoding or b"identity").strip().lower()
    if name in (b"gzip", b"x-gzip"):
        return True
    if name != b"identity":
        raise UnsupportedEncoding("content-encoding: only gzip is accepted, or none")
    return False


async def inflated(body: bytes, max_body_bytes: int) -> bytes:
    """What ``body`` was compressed from.

    Raises:
        BodyTooLarge: it is larger than ``max_body_bytes``.
        BadRequest: ``body`` is not one whole member of gzip.

    Cancelled here: atomic.
    """
    inflate = zlib.decompressobj(_GZIP)
    parts: list[bytes] = []
    size = 0
    try:
        for start in range(0, len(body), _WINDOW_BYTES):
            window = body[start : start + _WINDOW_BYTES]
            while window:
                part = inflate.decompress(window, _SLICE_BYTES)
                window = inflate.unconsumed_tail
                size += len(part)
                if size > max_body_bytes:
                    raise BodyTooLarge(f"the body is larger than {max_body_bytes} bytes without its compression")
                parts.append(part)
                await trio.lowlevel.checkpoint()
            if inflate.eof:
                is_last = not inflate.unused_data and start + _WINDOW_BYTES >= len(body)
                break
        else:
            is_last = False
    except zlib.error:
        is_last = False
    if not is_last:
        raise BadRequest("the body is not what content-encoding: gzip says")
    return b"".join(parts)
