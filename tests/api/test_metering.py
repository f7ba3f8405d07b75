"""Usage figures are folded without ever failing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api.metering import UsageFold
from relay_trio.usage import NO_USAGE, UsageDetails, UsageSource, UsageStats

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


def test_a_zero_overwrites_no_positive_figure() -> None:
    """Gateways fill what they do not count of a ``message_delta`` with zeros."""
    assert folded({"in": 5, "cached": 7}, {"in": 0, "out": 3, "cached": 0}).total_tokens == 15
    assert folded({"in": 0}, {"in": 4}).input_tokens == 4


def test_a_zero_that_the_record_itself_explains_overwrites() -> None:
    class Explained(UsageFold):
        def is_zero_meant(self, usage: dict[str, Any]) -> bool:
            return "steps" in usage

    fold = Explained(FIELDS)
    for usage in ({"in": 5, "cached": 7}, {"in": 6, "cached": 0, "steps": [{}]}):
        fold.overwrite(usage)
    assert fold.stats(UsageSource.EXACT) == UsageStats(6, source=UsageSource.EXACT)


def test_what_is_known_before_is_the_record_where_nothing_else_is() -> None:
    known = {"input_tokens": 4, "service_tier": "flex"}
    fold = UsageFold(FIELDS, known)
    assert fold.stats(UsageSource.NONE) == UsageStats(
        4, source=UsageSource.EXACT, details=UsageDetails(service_tier="flex")
    )
    fold.overwrite({"out": 3})
    assert fold.stats(UsageSource.PARTIAL) == UsageStats(
        0, 3, source=UsageSource.PARTIAL, details=UsageDetails(service_tier="flex")
    )


def test_an_explicit_zero_is_a_value() -> None:
    assert folded({"in": 0}).source is UsageSource.EXACT


def test_a_float_without_a_fraction_is_a_count() -> None:
    found = folded({"in": 12.0}).input_tokens
    assert (found, type(found)) == (12, int)


@pytest.mark.parametrize("figure", [-1, 2**53 + 1, 1.5, -2.0, 1e300, float("nan"), float("inf"), "3", True, [1], {}])
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
def test_the_fold_is_the_last_figure_of_each_field_that_is_not_zero(usages: list[dict[str, int | None]]) -> None:
    last: dict[str, int] = {}
    for usage in usages:
        for name, figure in usage.items():
            if name in FIELDS and figure is not None:
                last[FIELDS[name]] = figure or last.get(FIELDS[name], 0)
    assert folded(*usages) == (UsageStats(source=UsageSource.EXACT, **last) if last else NO_USAGE)
