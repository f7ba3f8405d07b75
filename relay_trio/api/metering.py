"""Usage records that grow: what readers fold the usage objects of an answer into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay_trio.usage import NO_USAGE, UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_COUNT = 2**53
"""Beyond it a JSON number is no longer exact everywhere, and no answer has that many tokens."""


def count_of(figure: object) -> int | None:
    """``figure``, as parsed from JSON, as a count; None where it is none. Some gateways write every number as a float,
    so ``12.0`` is 12."""
    if isinstance(figure, bool):
        return None
    if isinstance(figure, float) and figure.is_integer():
        figure = int(figure)
    return figure if isinstance(figure, int) and 0 <= figure <= LARGEST_COUNT else None


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
    streams change the input count). But a zero does not overwrite a positive count: gateways that count only output
    while they stream fill the other members of ``message_delta`` with zeros. Where a usage object has
    the member ``breakdown``, which shows how its figures are made up, its zeros are meant. A figure that is no count
    (negative, huge, a string) makes the record unusable.
    """

    def __init__(self, fields: Mapping[str, str], breakdown: str = "") -> None:
        """``fields`` maps the upstream's names to those of ``UsageStats``."""
        self._fields = fields
        self._breakdown = breakdown
        self._counts: dict[str, int] = {}
        self._is_sound = True

    def overwrite(self, usage: object) -> None:
        """Fold in one usage object, as parsed from JSON."""
        if not isinstance(usage, dict):
            return
        is_broken_down = bool(usage.get(self._breakdown))
        for theirs, ours in self._fields.items():
            figure = usage.get(theirs)
            if figure is None:
                continue
            count = count_of(figure)
            if count is None:
                self._is_sound = False
            elif count or is_broken_down or ours not in self._counts:
                self._counts[ours] = count

    def spoil(self) -> None:
        """Something that may have held usage could not be read: the record is unusable."""
        self._is_sound = False

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far, or ``NO_USAGE`` when nothing usable was seen."""
        if not self._counts or not self._is_sound:
            return NO_USAGE
        return UsageStats(source=source, **self._counts)
