"""The secret of a client key: how it is made, and what is stored of it."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

PREFIX = "rt_"
"""By which people and secret scanners recognise a key."""

_DIGITS = string.digits + string.ascii_letters
_BODY_LENGTH = 43  # of 256 bits in base 62
_CHECKSUM_LENGTH = 6  # of 32 bits in base 62


def generate_secret() -> str:
    """``rt_``, 256 random bits, and a checksum, by which a secret scanner knows that a find is a key. One double-click
    selects it."""
    body = PREFIX + _base62(secrets.randbits(256), _BODY_LENGTH)
    return body + _checksum(body)


def digest_of(secret: str) -> bytes:
    """What is stored of a secret. Takes any text, because clients send any."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
