"""What one answer puts on the wire, before anyone sends it: plain values that providers write and faults rewrite.

A provider describes its answer as a ``Script``: status, headers and ``Frame``s. A fault is a function that changes the
script. ``delivery`` then sends it and notes in ``truth`` what really left. So a provider knows nothing of
sockets, a fault nothing of dialects, and the delivery nothing of either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]
"""Header fields in wire order; names in lower case."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as a fold of the usage-bearing bytes sent so far gives them; input is uncached input only."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_creation_tokens + self.cache_read_tokens


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of a body: for a stream, one event.

    ``chunk`` is ``content`` in HTTP chunk framing, made once because most frames of a stream are sent many times.
    ``is_paced``: sent at the script's pace. ``tokens``: generated with this frame. ``usage``: what a reader of its
    first ``usage_bytes`` knows, or of all of it if that is None. ``is_last``: the dialect's terminal event, or a whole
    JSON body.
    """

    content: bytes
    chunk: bytes
    tokens: int = 0
    is_paced: bool = False
    usage: Usage | None = None
    is_last: bool = False
    usage_bytes: int | None = None

    @property
    def known_after_bytes(self) -> int:
        """After so many bytes its ``usage`` is known: a CR ends a line already, without its LF."""
        whole = len(self.content) - self.content.endswith(b"\r\n")
        return whole if self.usage_bytes is None else self.usage_bytes


def frame(
    content: bytes, *, tokens: int = 0, is_paced: bool = False, usage: Usage | None = None, is_last: bool = False
) -> Frame:
    """A frame with its chunk framing. An empty one has none: it would end the body."""
    chunk = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
    return Frame(content, chunk, tokens, is_paced, usage, is_last)


class Ending(Enum):
    """What happens after the last frame, or in place of the head."""

    COMPLETE = "complete"  # as HTTP requires
    CLOSE = "close"  # FIN, whatever HTTP still expects
    RESET = "reset"  # RST
    STALL = "stall"  # silence on an open socket


class Framing(Enum):
    """What marks the body's end."""

    CHUNKED = "chunked"
    LENGTH = "length"
    CLOSE = "close"


@dataclass(slots=True)
class Script:
    """One answer, to be performed from top to bottom.

    All intervals are seconds. ``generation_steps`` steps of the pace pass before the head of an answer that is not
    streamed, each of ``step_tokens`` tokens. ``preamble`` goes out before the head, piece by piece; an endless one
    never lets the head come. ``instead_of_head`` other than COMPLETE ends the connection there. ``raw_head`` replaces
    head and framing. ``head_interval`` and ``byte_interval``, unless None, send head and body one byte at a time.
    ``batch_bytes``: frames that wait for nothing share one send up to this size.
    """

    status: int
    headers: Headers
    frames: Iterable[Frame] = ()
    framing: Framing = Framing.CHUNKED
    length: int = 0
    delay: float = 0.0
    generation_steps: int = 0
    step_tokens: int = 0
    preamble: Iterable[bytes] = ()
    preamble_interval: float = 0.0
    instead_of_head: Ending = Ending.COMPLETE
    raw_head: bytes | None = None
    head_interval: float | None = None
    byte_interval: float | None = None
    batch_bytes: int = 16384
    ending: Ending = Ending.COMPLETE
    trailers: Headers = field(default_factory=list)
    is_kept_alive: bool = True

    def head(self, *, is_last_on_connection: bool) -> bytes:
        """Status line and header fields as bytes."""
        if self.raw_head is not None:
            return self.raw_head
        lines = [b"HTTP/1.1 %d %b\r\n" % (self.status, _REASONS.get(self.status, b"Status"))]
        lines += [b"%b: %b\r\n" % pair for pair in self.headers]
        if self.framing is Framing.CHUNKED:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif self.framing is Framing.LENGTH:
            lines.append(b"content-length: %d\r\n" % self.length)
        if is_last_on_connection:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def terminator(self) -> bytes:
        """What ends a body that is whole."""
        if self.framing is not Framing.CHUNKED:
            return b""
        return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % pair for pair in self.trailers)


def whole(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    usage: Usage | None = None,
    member: str = "",
    is_usage_in_head: bool = False,
) -> Script:
    """A script for a body that is known in full: one frame, with its length. ``member`` of its JSON is ``usage``, which
    whoever has the head knows already if it ``is_usage_in_head``."""
    known_after = 0 if is_usage_in_head else _member_end(body, member)
    frames = [replace(frame(body, usage=usage, is_last=True), usage_bytes=known_after)]
    return Script(status, headers, frames, framing=Framing.LENGTH, length=len(body))


def _member_end(body: bytes, name: str) -> int | None:
    """Where the value of the last member of that name ends in a JSON text; None if there is none."""
    _, found, rest = body.rpartition(b'"%b":' % name.encode())
    if not found:
        return None
    text = rest.decode()
    _, end = json.JSONDecoder().raw_decode(text.lstrip())
    return len(body) - len(text.lstrip()[end:].encode())


_REASONS = {
    200: b"OK",
    301: b"Moved Permanently",
    302: b"Found",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Payload Too Large",
    424: b"Failed Dependency",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}
