"""The AWS event stream (``application/vnd.amazon.eventstream``), as Bedrock sends it.

    total length u32 | headers length u32 | CRC32 of these 8 bytes | headers | payload | CRC32 of all before

All big-endian; the total counts itself and the last CRC. One header is: name length u8, name, type u8, value.
https://smithy.io/2.0/aws/amazon-eventstream.html

Two layers, because metering looks into few frames: ``RawFrames`` cuts the stream into whole frames and checks both
CRCs, ``parse_frame`` reads one. ``EventStreamDecoder`` is both together. Why not botocore's buffer: its cost is
quadratic in the size of one feed, it raises KeyError and struct.error on bad frames, and it says nothing about a
frame that was cut.

A frame of more than ``long_runs.LARGE_BYTES`` is checked and dropped if it is one that ``is_needed`` does not want: the
stream is bytes to pass on first, and events to look at second. Beyond what the format allows, a frame is damage.

``feed`` first returns the frames before a damage, raises only when there are none, and from then on always: so every
cut of the same bytes gives the same frames. ``damage`` holds the error from the moment it is found.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

from relay_trio.wire.long_runs import LARGE_BYTES
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""The format's own limits, as botocore and aws-c-event-stream enforce them."""

_BEGINNING_BYTES = 256
"""What ``is_needed`` is shown of a payload."""

_PRELUDE = struct.Struct("!III")
_CRC_BYTES = 4
_FRAMING_BYTES = _PRELUDE.size + _CRC_BYTES
_U16 = struct.Struct("!H")


class HeaderType(IntEnum):
    """The type byte before a header's value."""

    TRUE = 0
    FALSE = 1
    BYTE = 2
    SHORT = 3
    INT = 4
    LONG = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


_NUMBERS = {
    HeaderType.BYTE: struct.Struct("!b"),
    HeaderType.SHORT: struct.Struct("!h"),
    HeaderType.INT: struct.Struct("!i"),
    HeaderType.LONG: struct.Struct("!q"),
    HeaderType.TIMESTAMP: struct.Struct("!q"),
}

_SIZED = frozenset({HeaderType.STRING, HeaderType.BYTES})

HeaderValue = bool | int | bytes | str | UUID
"""Numbers of every width are ``int``, and so is a timestamp: milliseconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class Number:
    """For the encoder: a number of a given type, where a bare ``int`` would become the smallest of INT and LONG."""

    type: HeaderType
    value: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its headers by name (their order has no meaning), and its payload."""

    headers: dict[str, HeaderValue]
    payload: bytes


class RawFrames:
    """Cuts a stream into whole frames, both CRCs checked, headers not yet read.

    For a tee: bytes that hold whole frames cost one slice and two CRCs for each, and nothing is kept of them.
    """

    def __init__(self, is_needed: Callable[[bytes], bool] | None = None, *, large_bytes: int = LARGE_BYTES) -> None:
        """``is_needed``: called with the beginning of a frame of more than ``large_bytes``, its headers and some of its
        payload; False drops the frame. None keeps all."""
        self.damage: str | None = None
        """What is wrong with the stream, or None while nothing is."""
        self._is_needed = is_needed
        self._large_bytes = large_bytes
        self._undecided = 0  # bytes of a large frame that have to be here before it is decided on
        self._kept = bytearray()  # of the unfinished frame: all, or of one that is dropped its last CRC
        self._missing = 0  # bytes of the unfinished frame, once its prelude is known
        self._crc: int | None = None  # running, of a frame that is dropped

    @property
    def is_mid_frame(self) -> bool:
        """Whether the stream so far ends inside a frame. Where it is damaged, it never gets out of one."""
        return bool(self._kept or self._missing) or self.damage is not None

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes, in order. ``data`` may be cut anywhere.

        Raises:
            WireError: the stream is damaged, and every frame before the damage was returned.
        """
        if self.damage is not None:
            raise WireError(self.damage)
        frames: list[bytes] = []
        try:
            self._cut(data, frames)
        except WireError as error:
            self.damage = str(error)
            if not frames:
                raise
        return frames

    def _cut(self, data: bytes, frames: list[bytes]) -> None:
        position = 0
        if self._missing:
            position = self._continue(data, 0, frames)
        elif self._kept:  # less than a prelude
            data = bytes(self._kept) + data
            self._kept.clear()
        end = len(data)
        while end - position >= _PRELUDE.size:
            total, headers = _check_prelude(data, position)
            if total > self._large_bytes:
                self._missing = total
                self._undecided = min(_PRELUDE.size + headers + _BEGINNING_BYTES, total)
                position = self._continue(data, position, frames)
            elif total > end - position:
                self._missing = total - (end - position)
                break
            else:
                frame = data[position : position + total]
                _check_crc(crc32(memoryview(frame)[:-_CRC_BYTES]), frame)
                frames.append(frame)
                position += total
        self._kept += data[position:]

    def _continue(self, data: bytes, position: int, frames: list[bytes]) -> int:
        """Take what is missing of the unfinished frame from ``position``; returns the offset after it."""
        piece = data[position : position + self._missing]
        taken = len(piece)
        if self._crc is not None:
            body = max(0, min(taken, self._missing - _CRC_BYTES))
            self._crc = crc32(memoryview(piece)[:body], self._crc)
            piece = piece[body:]
        self._kept += piece
        self._missing -= taken
        if self._undecided and len(self._kept) >= self._undecided:
            self._decide()
        if not self._missing:
            frame = bytes(self._kept)
            self._kept.clear()
            if self._crc is None:
                _check_crc(crc32(memoryview(frame)[:-_CRC_BYTES]), frame)
                frames.append(frame)
            else:
                _check_crc(self._crc, frame)
                self._crc = None
        return position + taken

    def _decide(self) -> None:
        """Drop the large frame, but for its checksum, if nobody needs it."""
        kept = self._kept
        beginning, self._undecided = bytes(kept[: self._undecided]), 0
        if self._is_needed is not None and not self._is_needed(beginning):
            body = len(kept) + self._missing - _CRC_BYTES
            self._crc = crc32(kept[:body])
            del kept[:body]


def _check_prelude(data: bytes, position: int) -> tuple[int, int]:
    """The total length of the frame at ``position``, and that of its headers."""
    total, headers, expected = _PRELUDE.unpack_from(data, position)
    if crc32(data[position : position + 8]) != expected:
        raise WireError("prelude checksum mismatch")
    _check_lengths(total, headers)
    return total, headers


def _check_lengths(total: int, headers: int) -> None:
    if headers > MAX_HEADERS_BYTES:
        raise WireError(f"headers of {headers} bytes, the format allows {MAX_HEADERS_BYTES}")
    payload = total - headers - _FRAMING_BYTES
    if payload < 0:
        raise WireError(f"a frame of {total} bytes cannot hold {headers} bytes of headers")
    if payload > MAX_PAYLOAD_BYTES:
        raise WireError(f"a payload of {payload} bytes, the format allows {MAX_PAYLOAD_BYTES}")


def _check_crc(computed: int, frame: bytes) -> None:
    if computed.to_bytes(_CRC_BYTES, "big") != frame[-_CRC_BYTES:]:
        raise WireError("message checksum mismatch")


def parse_frame(raw: bytes) -> Frame:
    """The headers and the payload of one whole frame, as ``RawFrames`` gives it.

    Raises:
        WireError: the headers do not fill their length, have an unknown type, a name twice, or are not UTF-8.
    """
    headers_end = _PRELUDE.size + _PRELUDE.unpack_from(raw)[1]
    return Frame(_parse_headers(raw[_PRELUDE.size : headers_end]), raw[headers_end:-_CRC_BYTES])


def _parse_headers(block: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    position, end = 0, len(block)
    try:
        while position < end:
            name_end = position + 1 + block[position]
            name = block[position + 1 : name_end].decode()
            if name in headers:
                raise WireError("a header stands twice in one frame")
            headers[name], position = _parse_value(block, block[name_end], name_end + 1)
    except (IndexError, struct.error):
        raise WireError("a header goes beyond the headers' length") from None
    except UnicodeDecodeError:
        raise WireError("a header is not UTF-8") from None
    return headers


def _parse_value(block: bytes, kind: int, start: int) -> tuple[HeaderValue, int]:
    """The value at ``start`` and the offset after it."""
    if kind in _SIZED:
        stop = start + 2 + _U16.unpack_from(block, start)[0]
        if stop > len(block):
            raise IndexError
        value = block[start + 2 : stop]
        return (value.decode() if kind == HeaderType.STRING else value), stop
    if kind in (HeaderType.TRUE, HeaderType.FALSE):
        return kind == HeaderType.TRUE, start
    if kind == HeaderType.UUID:
        stop = start + 16
        if stop > len(block):
            raise IndexError
        return UUID(bytes=block[start:stop]), stop
    try:
        number = _NUMBERS[HeaderType(kind)]
    except ValueError:
        raise WireError(f"unknown header type {kind}") from None
    return int(number.unpack_from(block, start)[0]), start + number.size


class EventStreamDecoder:
    """``feed(bytes) -> frames``: both layers together, for readers of every frame."""

    def __init__(self) -> None:
        self._raw = RawFrames()

    @property
    def damage(self) -> str | None:
        """What is wrong with the stream, or None while nothing is."""
        return self._raw.damage

    @property
    def is_mid_frame(self) -> bool:
        """Whether the stream so far ends inside a frame: at its end, that it was cut."""
        return self._raw.is_mid_frame

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes, in order. ``data`` may be cut anywhere.

        Raises:
            WireError: the stream is damaged, and every frame before the damage was returned.
        """
        frames: list[Frame] = []
        try:
            for raw in self._raw.feed(data):
                frames.append(parse_frame(raw))  # noqa: PERF401 - those before a damaged one are kept
        except WireError as error:
            self._raw.damage = str(error)
            if not frames:
                raise
        return frames


def encode_frame(headers: Mapping[str, HeaderValue | Number], payload: bytes = b"") -> bytes:
    """One frame, both CRCs set, headers in the order given.

    Raises:
        WireError: a name, a value, the headers or the payload is larger than the format allows.
    """
    try:
        block = b"".join(_encode_header(name, value) for name, value in headers.items())
    except (ValueError, KeyError, struct.error):  # ValueError: a length beyond one byte, or a lone surrogate
        raise WireError("a header does not fit its format") from None
    total = _FRAMING_BYTES + len(block) + len(payload)
    _check_lengths(total, len(block))
    lengths = struct.pack("!II", total, len(block))
    frame = lengths + crc32(lengths).to_bytes(_CRC_BYTES, "big") + block + payload
    return frame + crc32(frame).to_bytes(_CRC_BYTES, "big")


def _encode_header(name: str, value: HeaderValue | Number) -> bytes:
    encoded = name.encode()
    return bytes((len(encoded),)) + encoded + _encode_value(value)


def _encode_value(value: HeaderValue | Number) -> bytes:
    match value:
        case bool():
            return bytes((HeaderType.TRUE if value else HeaderType.FALSE,))
        case Number():
            return bytes((value.type,)) + _NUMBERS[value.type].pack(value.value)
        case int():
            kind = HeaderType.INT if -(1 << 31) <= value < 1 << 31 else HeaderType.LONG
            return bytes((kind,)) + _NUMBERS[kind].pack(value)
        case UUID():
            return bytes((HeaderType.UUID,)) + value.bytes
        case str():
            encoded = value.encode()
            return bytes((HeaderType.STRING,)) + _U16.pack(len(encoded)) + encoded
        case bytes():
            return bytes((HeaderType.BYTES,)) + _U16.pack(len(value)) + value
