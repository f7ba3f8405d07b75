"""Usage figures are folded without ever failing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api.metering import UsageFold
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats

FIELDS = {"in": "input_tokens", "out": "output_tokens", "cached": "cache_read_tokens"}


def folded(*usages: object) -> UsageStats:
    fold = UsageFold(FIELDS)
    for usage in usages:
        fold.overwrite(usage)
    return fold.stats(UsageSource.EXACT)


def test_nothing_seen_is_no_usage_whatever_the_source() -> None:
    assert folded() == NO_USAGE
    assert folded({"other": 3}) == NO_USAGE


def test_a_later_figure_overwrites_and_is_neither_added_nor_the_larger() -> None:
    assert folded({"in": 100, "out": 1}, {"in": 60, "out": 7}) == UsageStats(60, 7, source=UsageSource.EXACT)


def test_a_figure_that_is_missing_or_null_keeps_the_earlier_one() -> None:
    assert folded({"in": 5, "out": 1}, {"out": 2}, {"in": None}) == UsageStats(5, 2, source=UsageSource.EXACT)


def test_an_explicit_zero_overwrites() -> None:
    assert folded({"in": 5}, {"in": 0}).input_tokens == 0
    assert folded({"in": 0}).source is UsageSource.EXACT


@pytest.mark.parametrize("figure", [-1, 2**53 + 1, 1.5, "3", True, [1], {}])
def test_a_figure_that_is_no_count_makes_the_whole_record_unusable(figure: object) -> None:
    """A wrong bill is worse than none, and a good figure afterwards does not mend it."""
    assert folded({"in": 1, "out": figure}) == NO_USAGE
    assert folded({"out": figure}, {"out": 3}) == NO_USAGE


@pytest.mark.parametrize("usage", [None, [], "usage", 3, [{"in": 1}]])
def test_a_usage_that_is_no_object_is_not_there(usage: object) -> None:
    assert folded({"in": 1}, usage) == UsageStats(1, source=UsageSource.EXACT)


def test_a_spoiled_record_is_no_usage() -> None:
    fold = UsageFold(FIELDS)
    fold.overwrite({"in": 1})
    fold.spoil()
    assert fold.stats(UsageSource.PARTIAL) == NO_USAGE


@given(st.lists(st.dictionaries(st.sampled_from([*FIELDS, "x"]), st.none() | st.integers(0, 2**53))))
def test_the_fold_is_the_last_figure_of_each_field(usages: list[dict[str, int | None]]) -> None:
    last: dict[str, int] = {}
    for usage in usages:
        last |= {FIELDS[name]: figure for name, figure in usage.items() if figure is not None and name in FIELDS}
    assert folded(*usages) == (UsageStats(source=UsageSource.EXACT, **last) if last else NO_USAGE)
