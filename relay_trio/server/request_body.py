"""Where a request body ends: bytes in, body bytes and left-over bytes out, any split. No I/O.

A decoder is done when ``is_done``; what ``feed`` returns second belongs to the next request. The chunked decoder is our
own because llhttp would run on into the next request; it knows one spelling of each rule and no leniencies.
"""

from __future__ import annotations

import re

MAX_CHUNK_LINE = 256
"""nginx and Node allow about this much; a size line longer than it only hides something."""

MAX_TRAILER_BYTES = 8 * 1024

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,8})(?:;[!-~][\t -~]*)?\Z")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\Z")


class BadRequestBody(Exception):
    """The bytes are not a chunked body; the connection cannot go on."""


class SizedBody:
    """A body of ``content_length`` bytes."""

    __slots__ = ("remaining",)

    def __init__(self, content_length: int) -> None:
        self.remaining = content_length

    @property
    def is_done(self) -> bool:
        return self.remaining == 0

    def feed(self, received: bytes) -> tuple[bytes, bytes]:
        """Return the body bytes in ``received`` and what comes after the body."""
        if len(received) <= self.remaining:
            self.remaining -= len(received)
            return received, b""
        body, rest = received[: self.remaining], received[self.remaining :]
        self.remaining = 0
        return body, rest


class ChunkedBody:
    """A chunked body. ``remaining`` is None: nobody knows what is still to come."""

    __slots__ = ("_buffer", "_chunk_left", "_in_trailers", "_needs_line_end", "_trailer_bytes", "is_done")
    remaining = None

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._chunk_left = 0
        self._needs_line_end = False
        self._in_trailers = False
        self._trailer_bytes = 0
        self.is_done = False

    def feed(self, received: bytes) -> tuple[bytes, bytes]:
        """Return the body bytes in ``received`` and what comes after the body.

        Raises:
            BadRequestBody: a size, a line end or a trailer is not spelled as RFC 9112 section 7.1 says.
        """
        self._buffer += received
        parts: list[bytes] = []
        while not self.is_done and self._advance(parts):
            pass
        if not self.is_done:
            return b"".join(parts), b""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return b"".join(parts), rest

    def _advance(self, parts: list[bytes]) -> bool:
        """Take one element off the buffer; False when it is not whole yet."""
        if self._chunk_left:
            if not self._buffer:
                return False
            data = bytes(self._buffer[: self._chunk_left])
            del self._buffer[: len(data)]
            self._chunk_left -= len(data)
            self._needs_line_end = self._chunk_left == 0
            parts.append(data)
            return True
        if self._needs_line_end:
            if not b"\r\n".startswith(bytes(self._buffer[:2])):
                raise BadRequestBody("a chunk must end in CR LF")
            if len(self._buffer) < 2:
                return False
            del self._buffer[:2]
            self._needs_line_end = False
            return True
        line = self._line(MAX_TRAILER_BYTES if self._in_trailers else MAX_CHUNK_LINE)
        if line is None:
            return False
        if self._in_trailers:
            self._read_trailer(line)
        else:
            self._read_size(line)
        return True

    def _line(self, limit: int) -> bytes | None:
        end = self._buffer.find(b"\n", 0, limit + 2)
        if end < 0:
            if len(self._buffer) > limit:
                raise BadRequestBody("a chunk size or trailer line is too long")
            return None
        if end == 0 or self._buffer[end - 1] != 0x0D:
            raise BadRequestBody("a line must end in CR LF")
        line = bytes(self._buffer[: end - 1])
        del self._buffer[: end + 1]
        return line

    def _read_size(self, line: bytes) -> None:
        match = _SIZE_LINE.match(line)
        if match is None:
            raise BadRequestBody("a chunk size must be hexadecimal")
        self._chunk_left = int(match[1], 16)
        self._in_trailers = self._chunk_left == 0

    def _read_trailer(self, line: bytes) -> None:
        """Trailers are checked and dropped: no field of a request may come after it was judged."""
        if not line:
            self.is_done = True
            return
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_TRAILER_BYTES or not _TRAILER_LINE.match(line):
            raise BadRequestBody("a trailer is too long or not a header field")


RequestBody = SizedBody | ChunkedBody
