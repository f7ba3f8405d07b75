"""HTTP/2 below the ``h2`` library: whole frames out of bytes, the few frames we write ourselves, and flood budgets.

Frames are counted before ``h2`` works on them, because the known floods (CVE-2019-9511 to 9518, CVE-2023-44487) cost us
in proportion to frames, not bytes. GOAWAY is taken out: ``h2`` answers even a graceful one by refusing to send on the
streams that are open, and the AWS JavaScript SDK sends one at the head of every response (RFC 9113 section 6.8).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hpack

from relay_trio.server.request_head import RequestHead, parse_content_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay_trio.http import Headers

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
MAX_FRAME_BYTES = 16 * 1024  # SETTINGS_MAX_FRAME_SIZE: we never offer more than the initial value

NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
ENHANCE_YOUR_CALM = 0xB
HTTP_1_1_REQUIRED = 0xD

_HEADER = struct.Struct(">HBBBI")
_METHOD = re.compile(rb"[A-Z]{3,20}\Z")
_TARGET = re.compile(rb"/[!-\"$-~]*\Z")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z")
_OF_A_REQUEST = frozenset({b":method", b":scheme", b":authority", b":path"})
_OF_A_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


class FrameTooLarge(Exception):
    """A frame is larger than we allow."""


@dataclass(slots=True)
class Frame:
    """One frame; ``raw`` is all of it, its nine header bytes included."""

    type: int
    flags: int
    stream_id: int
    raw: bytes

    @property
    def payload_bytes(self) -> int:
        return len(self.raw) - 9


class FrameSplitter:
    """Cuts a byte stream into frames; keeps at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[Frame]:
        """Yield every frame that is whole now.

        Raises:
            FrameTooLarge: a frame announces more than ``MAX_FRAME_BYTES``.
        """
        buffer = self._buffer
        buffer += received
        while len(buffer) >= 9:
            high, low, kind, flags, stream_id = _HEADER.unpack_from(buffer)
            length = (high << 8) | low
            if length > MAX_FRAME_BYTES:
                raise FrameTooLarge
            if len(buffer) < 9 + length:
                return
            raw = bytes(buffer[: 9 + length])
            del buffer[: 9 + length]
            yield Frame(kind, flags, stream_id & 0x7FFFFFFF, raw)


class BlockDecoder(hpack.Decoder):
    """Keeps each header block for us, and gives ``h2`` none of it.

    ``h2`` needs no field of a request, and ends the whole connection over one that is wrong. A malformed request is
    an error of its stream alone (RFC 9113 section 8.1.1).
    """

    def __init__(self) -> None:
        super().__init__()
        self.block: Headers = []

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        self.block = [(bytes(name), bytes(value)) for name, value in super().decode(data, raw=True)]
        return []


class Budget:
    """A token bucket: ``burst`` at once, ``per_second`` after that."""

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at = now

    def spend(self, now: float) -> bool:
        """Take one; False when there is none."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._left -= 1
        return self._left >= 0

    def earn(self, count: float) -> None:
        """Give some back, up to the burst."""
        self._left = min(self._burst, self._left + count)


def is_idle_talk(frame: Frame) -> bool:
    """True for the frames that make us work and move no request forward."""
    if frame.type == DATA:
        return frame.payload_bytes == 0 and not frame.flags & END_STREAM
    if frame.type in (SETTINGS, PING):
        return not frame.flags & ACK
    return frame.type not in (HEADERS, RST_STREAM)


def goaway_frame(last_stream_id: int, error_code: int) -> bytes:
    """GOAWAY, made here because ``h2`` closes its state machine with it."""
    return _HEADER.pack(0, 8, GOAWAY, 0, 0) + struct.pack(">II", last_stream_id, error_code)


def settings_frame() -> bytes:
    """An empty SETTINGS: the first frame a server must send, even one that will not serve."""
    return _HEADER.pack(0, 0, SETTINGS, 0, 0)


def goaway_code(frame: Frame) -> int:
    """The error code of a GOAWAY; a truncated one counts as a protocol error."""
    if frame.payload_bytes < 8:
        return PROTOCOL_ERROR
    return int(struct.unpack_from(">I", frame.raw, 13)[0])


def read_request(block: Headers, *, has_body: bool) -> RequestHead | None:
    """The request in a decoded header block; None when it is malformed, or a CONNECT (RFC 9113 section 8.1.1).

    ``host`` is first among its headers.
    """
    pseudo: dict[bytes, bytes] = {}
    fields: Headers = []
    host: bytes | None = None
    length: int | None = None
    expects_continue = False
    for name, value in block:
        if name.startswith(b":"):
            if name in pseudo or name not in _OF_A_REQUEST or fields or host is not None or _BAD_IN_VALUE.search(value):
                return None
            pseudo[name] = value
        elif not _is_field(name, value):
            return None
        elif name == b"host":
            if host is not None:
                return None
            host = value
        else:
            if name == b"content-length" and (length is not None or (length := parse_content_length(value)) is None):
                return None
            expects_continue = expects_continue or (name == b"expect" and value.lower() == b"100-continue")
            fields.append((name, value))
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not _METHOD.match(method) or method == b"CONNECT" or not _TARGET.match(target) or b":scheme" not in pseudo:
        return None
    if length and not has_body:
        return None
    authority = pseudo.get(b":authority", host)
    if authority is None or (host is not None and host != authority):
        return None
    path, _, query = target.partition(b"?")
    return RequestHead(
        method.decode(),
        path,
        query,
        "2",
        [(b"host", authority), *fields],
        content_length=length,
        has_body=has_body,
        expects_continue=expects_continue and has_body,
    )


def are_trailers(block: Headers) -> bool:
    """Whether a decoded header block may come after a body (RFC 9113 section 8.1)."""
    return all(_is_field(name, value) for name, value in block)


def _is_field(name: bytes, value: bytes) -> bool:
    """Whether a request may have this field (RFC 9113 section 8.2)."""
    return (
        _NAME.match(name) is not None
        and _BAD_IN_VALUE.search(value) is None
        and name not in _OF_A_CONNECTION
        and (name != b"te" or value.lower() == b"trailers")
    )
