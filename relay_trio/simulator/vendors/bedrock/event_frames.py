"""Amazon's event stream, written: frames with real checksums, sound or broken on purpose. Bytes out, no I/O.

A frame is total length u32, headers length u32, CRC-32 of those eight bytes, headers, payload, CRC-32 of all before;
big-endian. A header is name length u8, name, type u8, value; strings (type 7) are all that Bedrock sends.
https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_JSON = ("content-type", "application/json")
_OVERHEAD_BYTES = 16
_STRING = 7


def event(kind: str, payload: bytes) -> bytes:
    """An event of the model; headers in the order of recorded streams."""
    return encode([(":event-type", kind), (":" + _JSON[0], _JSON[1]), (":message-type", "event")], payload)


def exception(kind: str, payload: bytes) -> bytes:
    """An error that the service's model names."""
    return encode([(":exception-type", kind), (":" + _JSON[0], _JSON[1]), (":message-type", "exception")], payload)


def error(code: str, message: str) -> bytes:
    """An error that no model names; it has no payload."""
    return encode([(":message-type", "error"), (":error-code", code), (":error-message", message)], b"")


def encode(headers: Iterable[tuple[str, str]], payload: bytes) -> bytes:
    """One frame with string headers."""
    return seal(b"".join(_header(name, value) for name, value in headers), payload)


def seal(headers: bytes, payload: bytes) -> bytes:
    """One frame around encoded headers, which need not be sound."""
    return _frame(_OVERHEAD_BYTES + len(headers) + len(payload), len(headers), headers + payload)


def _header(name: str, value: str) -> bytes:
    encoded, text = name.encode(), value.encode()
    return struct.pack(">B", len(encoded)) + encoded + struct.pack(">BH", _STRING, len(text)) + text


def _frame(total: int, headers: int, rest: bytes) -> bytes:
    """``rest`` behind a prelude with the lengths ``total`` and ``headers``; both checksums are right."""
    prelude = struct.pack(">II", total, headers)
    data = prelude + _checksum(prelude) + rest
    return data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _flipped(data: bytes, position: int) -> bytes:
    """``data`` with one bit of the byte at ``position`` flipped."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


_SOUND = event("chunk", b'{"bytes":""}')
_UNKNOWN_HEADERS = b"".join(
    bytes([len(name)]) + name + value
    for name, value in (
        (b"true", b"\x00"),
        (b"false", b"\x01"),
        (b"byte", b"\x02\xff"),
        (b"short", b"\x03\xff\xfe"),
        (b"int", b"\x04\x00\x00\x00\x07"),
        (b"long", b"\x05" + b"\x00" * 7 + b"\x07"),
        (b"bytes", b"\x06\x00\x02\xff\xfe"),
        (b"timestamp", b"\x08" + b"\x00" * 7 + b"\x07"),
        (b"uuid", b"\x09" + b"u" * 16),
    )
)

ODD = {
    "empty": seal(b"", b""),
    "unknown_event": encode([(":message-type", "event"), (":event-type", "fromTheFuture")], b'{"a":1}'),
    "unknown_message_type": encode([(":message-type", "rumour"), (":event-type", "chunk")], b"{}"),
    "all_header_types": seal(_UNKNOWN_HEADERS, b""),
}
"""Frames that are sound and yet not expected; a reader should pass over them."""

BROKEN = {
    "crc": _flipped(_SOUND, -1),
    "payload": _flipped(_SOUND, -6),
    "prelude_crc": _flipped(_SOUND, 8),
    "length": _flipped(_SOUND, 3),
    "short_length": _frame(_OVERHEAD_BYTES - 1, 0, b""),
    "huge_length": _frame(0x7FFFFFFF, 0, b""),
    "headers_length": _frame(_OVERHEAD_BYTES + 4, 1000, b"\x00" * 4),
    "header_type": seal(b"\x01a\x0a", b""),
    "header_overrun": seal(b"\xff:event-type", b""),
    "text": b'{"message": "this is no frame at all"}\n',
}
"""Bytes that break the format. After any of them no reader can find the next frame for sure."""
