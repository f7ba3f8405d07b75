"""The token record of one answer."""

from __future__ import annotations

from relay_trio.usage import NO_USAGE, UsageSource, UsageStats


def test_the_total_is_the_sum_of_the_four() -> None:
    assert UsageStats(1, 20, 300, 4000, UsageSource.EXACT).total_tokens == 4321


def test_an_explicit_zero_is_a_value_and_no_usage_is_none() -> None:
    """Only the source tells them apart: both have zero tokens."""
    zero = UsageStats(source=UsageSource.EXACT)
    assert zero.total_tokens == NO_USAGE.total_tokens == 0
    assert zero != NO_USAGE
    assert NO_USAGE.source is UsageSource.NONE
