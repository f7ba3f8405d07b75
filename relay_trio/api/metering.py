"""Usage records that grow: what readers fold the usage objects of an answer into."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from relay_trio.usage import NO_DETAILS, NO_USAGE, UsageDetails, UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_COUNT = 2**53
"""Beyond it a JSON number is no longer exact everywhere, and no answer has that many tokens."""

_CACHED_1H = "cache_creation_1h_tokens"

CACHED_5M = "cache_creation_5m_tokens"
"""What was written to the cache for five minutes. It is no field of the record: it makes up for a missing total."""

_USUAL = frozenset({"standard", "default", "on_demand", "auto", "global", "not_available"})
"""Words of vendors for what is the case where nothing is said."""

_WORD = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)

NOTHING: Mapping[str, Any] = MappingProxyType({})


def count_of(figure: object) -> int | None:
    """``figure``, as parsed from JSON, as a count; None where it is none. Some gateways write every number as a float,
    so ``12.0`` is 12."""
    if isinstance(figure, bool):
        return None
    if isinstance(figure, float) and figure.is_integer():
        figure = int(figure)
    return figure if isinstance(figure, int) and 0 <= figure <= LARGEST_COUNT else None


def word_of(value: object) -> str | None:
    """``value`` in lower case, if it is one word of an upstream's, such as ``priority``; empty for one that stands for
    the usual; None where it is none."""
    if not isinstance(value, str):
        return None
    word = value.lower()
    if word in _USUAL:
        return ""
    return word if _WORD.fullmatch(word) else None


class Fold(Protocol):
    """A usage record that grows."""

    def overwrite(self, usage: object, beside: Mapping[str, Any] = NOTHING) -> object:
        """Fold in one usage object, as parsed from JSON. ``beside``: members of the document that it is in."""

    def spoil(self) -> None:
        """Something that may have held usage could not be read: the record is unusable."""

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far."""


class UsageFold:
    """Folds usage objects: each field that is present and not null overwrites the earlier figure.

    It never adds and never takes the maximum: later figures correct earlier ones (PROTOCOLS: 14 of 55 recorded Claude
    streams change the input count). But a zero does not overwrite a positive count: gateways that count only output
    while they stream fill the other members of ``message_delta`` with zeros. A figure that is no count (negative,
    huge, a string) makes the record unusable.

    A vendor's own fold adds what stands deeper in its usage objects, by ``put`` and ``put_word``.
    """

    def __init__(self, fields: Mapping[str, str], known: Mapping[str, int | str] = NOTHING) -> None:
        """``fields`` maps the upstream's names to those of ``UsageStats``. ``known``: counts and words of the record
        that are known from the answer's head. The counts are the record where no usage object has any."""
        self._fields = fields
        self._counts: dict[str, int] = {}
        self._parts: dict[str, int] = {}
        self._words: dict[str, str] = {}
        self._known_counts: dict[str, int] = {}
        self._is_sound = True
        for name, value in known.items():
            if isinstance(value, str):
                self._words[name] = value
            else:
                self._known_counts[name] = value

    def overwrite(self, usage: object, beside: Mapping[str, Any] = NOTHING) -> None:
        """Fold in one usage object, as parsed from JSON."""
        if not isinstance(usage, dict):
            return
        is_zero_meant = self.is_zero_meant(usage)
        for theirs, ours in self._fields.items():
            figure = usage.get(theirs)
            if figure is None:
                continue
            count = count_of(figure)
            if count is None:
                self._is_sound = False
            elif count or is_zero_meant or ours not in self._counts:
                self._counts[ours] = count

    def is_zero_meant(self, usage: dict[str, Any]) -> bool:
        """Whether the zeros of ``usage`` are counts, where there are positive ones from before."""
        return False

    def put(self, name: str, count: int) -> None:
        """Note a part of the counts, or what is counted beside tokens; a zero says nothing."""
        if count:
            self._parts[name] = count

    def put_word(self, name: str, value: object) -> None:
        """Note one word of the record, if ``value`` is one."""
        word = word_of(value)
        if word is not None:
            self._words[name] = word

    def spoil(self) -> None:
        """Something that may have held usage could not be read: the record is unusable."""
        self._is_sound = False

    def stats(self, source: UsageSource) -> UsageStats:
        """The record so far, or ``NO_USAGE`` when nothing usable was seen."""
        counts: dict[str, Any] = dict(self._counts)
        parts = dict(self._parts)
        if not (counts or parts) or not self._is_sound:
            if not self._known_counts:
                return NO_USAGE
            counts, parts, source = dict(self._known_counts), {}, UsageSource.EXACT
        details = {name: word for name, word in self._words.items() if word}
        if not parts and not details:
            return UsageStats(source=source, **counts)
        written = parts.pop(CACHED_5M, 0) + parts.get(_CACHED_1H, 0)
        if written:
            written = counts["cache_creation_tokens"] = counts.get("cache_creation_tokens") or written
            parts[_CACHED_1H] = min(parts.get(_CACHED_1H, 0), written)
        return UsageStats(source=source, details=details_of(parts | details), **counts)


def details_of(found: Mapping[str, Any]) -> UsageDetails:
    """The details with these values; ``NO_DETAILS`` where there are none, or nothing but zeros."""
    return UsageDetails(**found) if any(found.values()) else NO_DETAILS
