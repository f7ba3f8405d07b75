"""The reader of answers that are one JSON document: one member of it holds the usage, wherever it stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from relay_trio.api.answer_reader import Ending
from relay_trio.api.position import WHOLE
from relay_trio.errors import UpstreamProtocolError
from relay_trio.usage import NO_USAGE, UsageSource
from relay_trio.wire.json_members import JsonLimitError, MemberScanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.api.metering import Fold
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats

_SMALL_BYTES = 64 * 1024
"""A document up to this size is held and parsed at once. A larger one is scanned while it passes, and never held; an
error is never that large."""


class WholeReader:
    """Reads one JSON document, and alters nothing."""

    is_error_forwarded = True
    position = WHOLE

    def __init__(
        self,
        member: str,
        new_fold: Callable[[], Fold] | None,
        reported_error: Callable[[dict[str, Any]], UpstreamError | None],
        beside: tuple[str, ...] = (),
    ) -> None:
        """``member``: the name of the document's member that holds the usage, such as ``usage``. ``new_fold`` makes
        what reads that member, and those of ``beside`` (of these, one above 64 KiB in a large document is missed);
        None: the answer has no tokens. ``reported_error``: the error that a document is, where a vendor sends errors
        with status 200; None: it is none."""
        self._member = member
        self._new_fold = new_fold
        self._reported_error = reported_error
        self._small: bytearray | None = bytearray()  # the whole body, while it is small enough to be parsed at once
        self._scanner: MemberScanner | None = MemberScanner(
            frozenset({member, *beside}), max_depth=1024, max_tokens=None
        )
        self._document: Any = None  # what the small body is, once it is whole
        self._is_whole = False
        self._error: UpstreamError | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything but space has come."""
        return self._small is None or bool(self._small.strip())

    @property
    def has_substance(self) -> bool:
        """Whether the document is larger than an error, or whole and none."""
        return self._error is None and (self._small is None or self._is_whole)

    @property
    def ending(self) -> Ending:
        """Due once the document is whole: its framing, which may fail, has nothing more to say."""
        return Ending.DUE if self._is_whole else Ending.OPEN

    @property
    def is_complete(self) -> bool:
        """Whether the document is whole. One that is too deep to be scanned counts as whole."""
        if self._small is None:
            return self._scanner is None or self._scanner.is_whole
        self._parse_small()
        return self._is_whole and self._error is None

    @property
    def error(self) -> UpstreamError | None:
        """The error that the document is, or that it is no JSON."""
        self._parse_small()
        return self._error

    def feed(self, data: bytes) -> bytes:
        """``data`` as it came."""
        if self._small is None:
            self._scan(data)
            return data
        self._small += data
        self._is_whole = False
        if len(self._small) > _SMALL_BYTES:
            self._check_beginning(self._small)
            self._begin_scan(self._small)
        return data

    def _parse_small(self) -> None:
        if self._is_whole or self._error is not None or self._small is None:
            return
        text = self._small.strip()
        self._check_beginning(text)
        if not text.endswith((b"}", b"]")):
            return
        try:
            self._document = json.loads(text)
        except (ValueError, RecursionError):
            return
        self._is_whole = True
        if isinstance(self._document, dict):
            self._error = self._reported_error(self._document)

    def _check_beginning(self, text: bytearray) -> None:
        if not text.lstrip().startswith((b"{", b"[")) and text.strip():
            self._error = UpstreamProtocolError("the upstream answered with something else than JSON")

    def _begin_scan(self, body: bytearray) -> None:
        self._small, self._document = None, None
        self._scan(bytes(body))

    def _scan(self, data: bytes) -> None:
        if self._scanner is None:
            return
        try:
            self._scanner.feed(data)
        except JsonLimitError:
            self._scanner = None

    def finish(self) -> UsageStats:
        """The usage; partial where the document was cut after its member."""
        if self._new_fold is None:
            return NO_USAGE
        fold = self._new_fold()
        self._parse_small()
        if self._is_whole:
            document = self._document if isinstance(self._document, dict) else {}
            fold.overwrite(document.get(self._member), document)
            return fold.stats(UsageSource.EXACT)
        if self._small is not None:
            self._begin_scan(self._small)  # it was cut short, perhaps after its usage
        if self._scanner is None or self._member not in self._scanner.members:
            return fold.stats(UsageSource.NONE)
        try:
            document = {name: json.loads(text) for name, text in self._scanner.members.items()}
        except (ValueError, RecursionError):
            fold.spoil()
        else:
            fold.overwrite(document[self._member], document)
        return fold.stats(UsageSource.EXACT if self._scanner.is_whole else UsageSource.PARTIAL)
