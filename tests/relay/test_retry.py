"""The retry budget: a share of the live requests, with a floor."""

from __future__ import annotations

import pytest

from relay_trio.relay.retry import RetryBudget
from relay_trio.settings import RetrySettings

SETTINGS = RetrySettings(budget_ratio=0.2, budget_min_concurrent=1)


def test_the_budget_is_a_share_of_live_requests_with_a_floor() -> None:
    budget = RetryBudget()
    with budget.place(SETTINGS, 10) as first, budget.place(SETTINGS, 10) as second:
        with budget.place(SETTINGS, 10) as third:
            assert (first, second, third) == (True, True, False)
        assert budget.in_use == 2
    with budget.place(SETTINGS, 0) as again:
        assert again


def test_a_place_is_free_again_however_its_block_ends() -> None:
    budget = RetryBudget()
    with pytest.raises(ZeroDivisionError), budget.place(SETTINGS, 0):
        raise ZeroDivisionError
    assert budget.in_use == 0
