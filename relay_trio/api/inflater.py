"""Compressed answers: the client is sent the bytes as they came, and the answer's reader is fed what they hold."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from relay_trio.api.answer_reader import Ending
from relay_trio.api.position import WHOLE
from relay_trio.errors import UpstreamProtocolError
from relay_trio.http import ResponseHead, header
from relay_trio.usage import NO_USAGE

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats

_INFLATED_BYTES_MAX = 64 * 1024 * 1024
"""A compressed answer is inflated up to this size. What goes on further is a bomb, and its usage stays unknown."""


class Inflater:
    """Inflates a gzip or zlib body piece by piece. It is bounded, and never raises."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its own header
        self._left = _INFLATED_BYTES_MAX
        self.is_readable = True

    def feed(self, data: bytes) -> bytes:
        """What ``data`` inflates to; empty once the body turned out unreadable or too large."""
        inflated = b""
        while data and self.is_readable:
            if self._inflate.eof:  # members may follow each other (RFC 1952 section 2.2)
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            try:
                inflated += self._inflate.decompress(data, self._left - len(inflated))
            except zlib.error:
                self.is_readable = False
                break
            if len(inflated) >= self._left or self._inflate.unconsumed_tail:
                self.is_readable = False
            data = self._inflate.unused_data
        self._left -= len(inflated)
        return inflated


def inflater_for(head: ResponseHead, checked: CheckedRequest) -> Inflater | None:
    """An inflater for the answer's body; None where it is not compressed.

    Raises:
        UpstreamProtocolError: the body has an encoding that the request did not accept.
    """
    encoding = (header(head.headers, b"content-encoding") or b"identity").lower()
    if encoding == b"identity":
        return None
    accepted = (header(checked.headers, b"accept-encoding") or b"").lower()
    if encoding == b"gzip" and b"gzip" in accepted:
        return Inflater()
    name = encoding[:40].decode("ascii", "replace")
    raise UpstreamProtocolError(f'the upstream used content-encoding "{name}", which the request did not accept')


class InflatedReader:
    """Feeds another reader, which alters nothing, what a compressed answer holds.

    Where the body cannot be inflated, its usage is unknown, and its end is not judged: it counts as complete.
    """

    is_error_forwarded = True
    position = WHOLE

    def __init__(self, reader: AnswerReader, inflater: Inflater) -> None:
        self._reader = reader
        self._inflater = inflater

    @property
    def has_begun(self) -> bool:
        """Whether ``reader`` has begun, or cannot see it."""
        return not self._inflater.is_readable or self._reader.has_begun

    @property
    def has_substance(self) -> bool:
        """Whether ``reader`` has seen something of substance, or cannot see it."""
        return not self._inflater.is_readable or self._reader.has_substance

    @property
    def ending(self) -> Ending:
        """Never final: behind the last event, the compressed body has an end of its own."""
        return Ending.OPEN if self._reader.ending is Ending.OPEN else Ending.DUE

    @property
    def is_complete(self) -> bool:
        """Whether ``reader`` has seen the end, or cannot see it."""
        return not self._inflater.is_readable or self._reader.is_complete

    @property
    def error(self) -> UpstreamError | None:
        """The error that ``reader`` has found."""
        return self._reader.error

    def feed(self, data: bytes) -> bytes:
        """``data``, still compressed."""
        self._reader.feed(self._inflater.feed(data))
        return data

    def finish(self) -> UsageStats:
        """The usage that ``reader`` has found."""
        return self._reader.finish() if self._inflater.is_readable else NO_USAGE
