"""The token record of one answer, with one meaning for every vendor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UsageSource(StrEnum):
    """Where a token record comes from."""

    EXACT = "exact"  # the terminal usage was seen
    PARTIAL = "partial"  # cut short: what was last observed
    ESTIMATED = "estimated"  # added up by us: the upstream gave no total, or one that contradicts the parts
    NONE = "none"  # nothing usable was seen


@dataclass(frozen=True, slots=True)
class UsageStats:
    """Tokens of one answer, with one meaning for every provider.

    ``input_tokens`` is uncached input only; ``output_tokens`` is everything generated, reasoning included. An explicit
    zero is a value: only ``source`` says that nothing was seen.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    source: UsageSource = UsageSource.NONE

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_creation_tokens + self.cache_read_tokens


NO_USAGE = UsageStats()
