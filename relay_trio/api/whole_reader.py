"""The reader of answers that are one JSON document: one member of it holds the usage, wherever it stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.api.position import WHOLE
from relay_trio.usage import UsageSource
from relay_trio.wire.json_members import JsonLimitError, MemberScanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.api.metering import Fold
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats

_SMALL_BYTES = 64 * 1024
"""A document up to this size is held and parsed at once. A larger one is scanned while it passes, and never held."""


class WholeReader:
    """Reads one JSON document, and alters nothing. The document itself says where it ends, so it is always complete."""

    is_error_forwarded = True
    is_complete = True
    error: UpstreamError | None = None
    position = WHOLE

    def __init__(self, member: str, new_fold: Callable[[], Fold], beside: tuple[str, ...] = ()) -> None:
        """``member``: the name of the document's member that holds the usage, such as ``usage``. ``new_fold`` makes
        what reads that member, and those of ``beside``: of these, one above 64 KiB in a large document is missed."""
        self._member = member
        self._new_fold = new_fold
        self._small: bytearray | None = bytearray()  # the whole body, while it is small enough to be parsed at once
        self._scanner: MemberScanner | None = MemberScanner(
            frozenset({member, *beside}), max_depth=1024, max_tokens=None
        )

    def feed(self, data: bytes) -> bytes:
        """``data`` as it came."""
        if self._small is None:
            self._scan(data)
            return data
        self._small += data
        if len(self._small) > _SMALL_BYTES:
            self._scan(bytes(self._small))
            self._small = None
        return data

    def _scan(self, data: bytes) -> None:
        if self._scanner is None:
            return
        try:
            self._scanner.feed(data)
        except JsonLimitError:
            self._scanner = None

    def finish(self) -> UsageStats:
        """The usage; partial where the document was cut after its member."""
        fold = self._new_fold()
        if self._small is not None:
            try:
                document = json.loads(self._small)
            except (ValueError, RecursionError):
                self._scan(bytes(self._small))  # it was cut short, perhaps after its usage
                self._small = None
            else:
                document = document if isinstance(document, dict) else {}
                fold.overwrite(document.get(self._member), document)
                return fold.stats(UsageSource.EXACT)
        if self._scanner is None or self._member not in self._scanner.members:
            return fold.stats(UsageSource.NONE)
        try:
            document = {name: json.loads(text) for name, text in self._scanner.members.items()}
        except (ValueError, RecursionError):
            fold.spoil()
        else:
            fold.overwrite(document[self._member], document)
        return fold.stats(UsageSource.EXACT if self._scanner.is_whole else UsageSource.PARTIAL)
