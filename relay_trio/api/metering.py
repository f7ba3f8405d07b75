"""Usage records that grow: what readers fold the usage objects of an answer into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay_trio.usage import NO_USAGE, UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_COUNT = 2**53
"""Beyond it a JSON number is no longer exact everywhere, and no answer has that many tokens."""


class Fold(Protocol):
    """A usage record that grows."""

    def overwrite(self, usage: object) -> object:
        """Fold in one usage object, as parsed from JSON."""

    def spoil(self) -> None:
        """Something that may have held usage could not be read: the record is unusable."""

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far."""


class UsageFold:
    """Folds usage objects: each field that is present and not null overwrites the earlier figure.

    It never adds and never takes the maximum: later figures correct earlier ones (PROTOCOLS: 14 of 55 recorded Claude
    streams change the input count). A figure that is no count (negative, huge, a string) makes the record unusable.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        """``fields`` maps the upstream's names to those of ``UsageStats``."""
        self._fields = fields
        self._counts: dict[str, int] = {}
        self._is_sound = True

    def overwrite(self, usage: object) -> None:
        """Fold in one usage object, as parsed from JSON."""
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
        """Something that may have held usage could not be read: the record is unusable."""
        self._is_sound = False

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far, or ``NO_USAGE`` when nothing usable was seen."""
        if not self._counts or not self._is_sound:
            return NO_USAGE
        return UsageStats(source=source, **self._counts)
