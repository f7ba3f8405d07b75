"""What meters share: folding usage fields, looking into compressed bodies, and metering nothing."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from relay_trio.api.position import Form
from relay_trio.errors import UpstreamProtocolError
from relay_trio.http import ResponseHead, header
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.errors import UpstreamError

LARGEST_COUNT = 2**53
"""Beyond it a JSON number is no longer exact everywhere, and no answer has that many tokens."""

_INFLATED_BYTES_MAX = 64 * 1024 * 1024
"""A compressed answer is looked into up to this size; what unfolds further is a bomb, and its usage stays unknown."""


class Fold(Protocol):
    """A token record that grows."""

    def overwrite(self, usage: object) -> object:
        """Take one usage object as parsed from JSON."""

    def spoil(self) -> None:
        """Something that may have carried usage could not be read: the record is unusable."""

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far."""


class UsageFold:
    """Folds usage objects by overwriting each field that is present and not null.

    Never adds and never takes the maximum: later figures correct earlier ones (PROTOCOLS: 14 of 55 recorded Claude
    streams change the input count). A figure that is no count (negative, huge, a string) makes the record unusable.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        """``fields`` maps the provider's names to those of ``UsageStats``."""
        self._fields = fields
        self._counts: dict[str, int] = {}
        self._is_sound = True

    def overwrite(self, usage: object) -> None:
        """Fold in one usage object as parsed from JSON."""
        if not isinstance(usage, dict):
            return
        for theirs, ours in self._fields.items():
            count = usage.get(theirs)
            if count is None:
                continue
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LARGEST_COUNT:
                self._is_sound = False
            else:
                self._counts[ours] = count

    def spoil(self) -> None:
        """Something that may have carried usage could not be read: the record is unusable."""
        self._is_sound = False

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far, or ``NO_USAGE`` when nothing usable was seen."""
        if not self._counts or not self._is_sound:
            return NO_USAGE
        return UsageStats(source=source, **self._counts)


class Inflater:
    """Looks into a gzip or deflate body that passes by. Bounded; never raises."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its own header
        self._left = _INFLATED_BYTES_MAX
        self.is_readable = True

    def feed(self, data: bytes) -> bytes:
        """What ``data`` unfolds to; empty once the body turned out unreadable or too large."""
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
    """What looks into an answer's body; None where it is not compressed.

    Raises:
        UpstreamProtocolError: it is in an encoding that was not asked for.
    """
    encoding = (header(head.headers, b"content-encoding") or b"identity").lower()
    if encoding == b"identity":
        return None
    accepted = (header(checked.headers, b"accept-encoding") or b"").lower()
    if encoding == b"gzip" and b"gzip" in accepted and checked.is_listed is None:
        return Inflater()
    raise UpstreamProtocolError(f"the upstream used content-encoding {encoding[:40]!r}, which was not asked for")


class NullMeter:
    """For answers without tokens: model lists, token counts, batch records."""

    form = Form.WHOLE
    tells_its_error = True
    is_complete = True
    is_mid_event = False
    error: UpstreamError | None = None

    def feed(self, data: bytes) -> bytes:
        """Look at nothing."""
        return data

    def finish(self) -> UsageStats:
        """Nothing was metered."""
        return NO_USAGE
