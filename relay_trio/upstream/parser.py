"""Bytes of one HTTP/1.1 answer in, head and body bytes out. No I/O.

llhttp (through httptools) does the parsing with every leniency off; it refuses bare CR or LF, NUL, folded fields, two
framings, repeated lengths. What is here is what llhttp leaves open: limits, the versions and transfer codings that we
can read, answers without a body, interim answers, and the end of an answer that only a closed connection ends.

Whatever the bytes are, the only errors are ``UpstreamProtocolError`` and ``UpstreamClosed``. Body bytes that came
before a fault are handed out first, however the bytes were cut: the fault is raised by the next call.
"""

from __future__ import annotations

import re

import httptools

from relay_trio.errors import UpstreamClosed, UpstreamError, UpstreamProtocolError
from relay_trio.http import Headers, ResponseHead

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of all heads of one answer, interim ones included. Precedents: node 16 KiB, h11 16 KiB, nginx 32 KiB for 4
buffers, hyper 400 KiB, Go 10 MiB. Checked once per read, so one read (64 KiB) more may have been parsed."""

MAX_FIELDS = 256
"""Header fields of one head. Precedents: hyper 100, Apache 100, http.client 100, node 2000; real answers: about 40."""

MAX_INTERIM = 32
"""Interim answers (100, 103) before the real one. Precedents: Go 5, curl none; time is bounded by the caller."""

MAX_CHUNK_EXCESS = 16 * 1024
"""Framing bytes beyond a fair share of the data: Go's rule against endless chunk extensions
(net/http/internal/chunked.go). Each piece of data earns 16 bytes of framing, each byte of data two more. Trailer fields
count as framing too."""

_BODILESS = frozenset({204, 304})
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class ResponseParser:
    """Parses the answer to one request with ``method``. ``discard`` it at the end: it is part of a reference cycle.

    ``head`` is None until the final head has come. ``is_complete`` when the answer's own framing says that it is whole.
    ``has_extra`` when bytes came after that. ``is_reusable`` when the connection may carry another call.
    """

    def __init__(self, method: str) -> None:
        self.head: ResponseHead | None = None
        self.is_complete = False
        self.has_extra = False
        self.failure: UpstreamError | None = None
        self._method = method
        self._keeps_alive = False
        self._headers: Headers = []
        self._codings: list[bytes] = []
        self._has_length = False
        self._is_ended_by_close = False
        self._pieces: list[bytes] = []
        self._head_bytes = 0
        self._interim = 0
        self._excess = 0
        self._llhttp: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    @property
    def is_reusable(self) -> bool:
        return self.is_complete and self._keeps_alive and not self.has_extra

    def feed(self, data: bytes) -> bytes:
        """Parse ``data`` (not empty), the bytes of one read; give the body bytes in it, which may be none.

        Raises:
            UpstreamProtocolError: the bytes are not HTTP/1.1, or break a limit.
        """
        if self.failure is not None:
            raise self.failure
        if self.is_complete or self._llhttp is None:
            self.has_extra = True
            return b""
        had_head = self.head is not None
        if not self._head_bytes and not had_head and data[:1] != b"H":
            # llhttp would skip empty lines. Before an answer they are left over from something else.
            self._refuse("the upstream's answer does not begin with HTTP/")
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the upstream switched protocols, which the relay does not request")
        except httptools.HttpParserError as error:
            self._fail(f"the upstream's answer is not valid HTTP/1.1: {error}")
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if had_head:
            self._count_framing(len(data), len(body))
        elif self.head is None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(f"the head of the upstream's answer is longer than {MAX_HEAD_BYTES} bytes")
        pieces.clear()
        if self.failure is not None and not body:
            raise self.failure
        return body

    def feed_eof(self) -> None:
        """The upstream sends no more. Returns when that completes the answer.

        Raises:
            UpstreamClosed: the answer is not whole.
        """
        if self.failure is not None:
            raise self.failure
        self._keeps_alive = False
        if self.head is None:
            raise UpstreamClosed("the upstream closed the connection before the head of its answer was whole")
        if not self.is_complete and not self._is_ended_by_close:
            raise UpstreamClosed("the upstream closed the connection in the middle of its answer")
        self.is_complete = True

    def discard(self) -> None:
        """Break the reference cycle with llhttp's callbacks; nothing can be fed afterwards."""
        self._llhttp = None

    def _fail(self, message: str) -> None:
        """Keep the first failure. After the end of the answer nothing is one: it is extra bytes."""
        if self.is_complete:
            self.has_extra = True
        elif self.failure is None:
            self.failure = UpstreamProtocolError(message)

    def _refuse(self, message: str) -> None:
        """End parsing at once, also from inside a callback."""
        self._fail(message)
        raise UpstreamProtocolError(message)

    def _count_framing(self, data_bytes: int, body_bytes: int) -> None:
        framing = data_bytes - body_bytes
        if not framing:
            return
        self._excess = max(0, self._excess + framing - 16 * len(self._pieces) - 2 * body_bytes)
        if self._excess > MAX_CHUNK_EXCESS:
            self._fail(f"the upstream sent more than {MAX_CHUNK_EXCESS} bytes of chunk framing beyond its data")

    # --- callbacks of llhttp; an exception from one stops it ------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.has_extra = True

    def on_status(self, reason: bytes) -> None:
        if self.head is None and _CONTROL.search(reason):
            self._refuse("the upstream's answer has control characters in its status line")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # a trailer field, or part of an answer to no request
        name = name.lower()
        value = value.rstrip(b" \t")  # llhttp keeps white space at the end of a value
        if name == b"transfer-encoding":
            self._codings.append(value.lower())
        elif name == b"content-length":
            self._has_length = True
        self._headers.append((name, value))
        if len(self._headers) > MAX_FIELDS:
            self._refuse(f"the head of the upstream's answer has more than {MAX_FIELDS} fields")

    def on_headers_complete(self) -> None:
        if self.head is not None or self._llhttp is None:
            return
        status = self._llhttp.get_status_code()
        if 100 <= status < 200:
            self._skip_interim(status)
            return
        if not 200 <= status < 600:
            self._refuse(f"the upstream answered with status {status}, which HTTP does not have")
        version = self._llhttp.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(f"the upstream answered with HTTP/{version}, expected HTTP/1.1")
        if self._codings and (self._codings != [b"chunked"] or version == "1.0"):
            self._refuse("the upstream's answer has a transfer coding other than chunked")
        self.head = ResponseHead(status, self._headers)
        is_tunnel = self._method == "CONNECT" and status < 300
        if self._method == "HEAD" or status in _BODILESS or is_tunnel:
            self._complete()  # llhttp does not know the method and would go on to read a body
        else:
            self._is_ended_by_close = not self._codings and not self._has_length

    def on_body(self, data: bytes) -> None:
        if self.is_complete:
            self.has_extra = True
        else:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self.head is not None and not self.is_complete:
            self._complete()

    def _complete(self) -> None:
        self.is_complete = True
        self._keeps_alive = self._llhttp is not None and self._llhttp.should_keep_alive()

    def _skip_interim(self, status: int) -> None:
        if status == 101:
            self._refuse("the upstream switched protocols, which the relay does not request")
        self._interim += 1
        if self._interim > MAX_INTERIM:
            self._refuse(f"the upstream sent more than {MAX_INTERIM} interim answers")
        self._headers = []
        self._codings = []
        self._has_length = False
