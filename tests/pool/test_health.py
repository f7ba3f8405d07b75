"""Cool-downs, the breaker, and refused credentials."""

from __future__ import annotations

import math

from relay_trio.pool.health import AccountState, Health
from relay_trio.settings import BreakerSettings


def test_strikes_in_a_row_eject_for_longer_each_time_up_to_the_limit() -> None:
    health = Health(BreakerSettings(strikes=3, eject_seconds=30, eject_max_seconds=70))
    for expected in (30, 60, 70, 70):
        assert health.available_at() < 1000
        for _ in range(3):
            health.strike(1000)
        assert health.available_at() == 1000 + expected
        health._ejected_until = -math.inf


def test_a_success_between_strikes_forgets_them() -> None:
    health = Health(BreakerSettings(strikes=2))
    health.strike(0)
    health.succeed()
    health.strike(0)
    assert health.available_at() <= 0


def test_a_cool_down_is_capped_and_never_shortened() -> None:
    health = Health(BreakerSettings(retry_after_max_seconds=100))
    health.cool_down(0, 1e9, "429")
    health.cool_down(0, 5, "429")
    assert health.available_at() == 100
    assert health.statistics(40).available_in_seconds == 60
    assert health.statistics(40).state is AccountState.COOLING
    assert health.statistics(100).state is AccountState.READY


def test_a_stated_date_is_obeyed_for_a_day_at_most() -> None:
    health = Health(BreakerSettings(retry_after_max_seconds=100))
    health.cool_down(0, 5000, "limit", is_dated=True)
    assert health.available_at() == 5000
    health.cool_down(0, 1e9, "limit", is_dated=True)
    assert health.available_at() == 86_400


def test_an_ejection_can_be_waived_a_cool_down_cannot() -> None:
    health = Health(BreakerSettings(strikes=1))
    health.strike(0)
    assert health.available_at() > 0
    assert health.available_at(waive_ejection=True) < 0
    health.cool_down(0, 9, "429")
    assert health.available_at(waive_ejection=True) == 9


def test_a_refused_credential_is_never_available_again() -> None:
    health = Health(BreakerSettings())
    health.disable("401")
    assert health.available_at(waive_ejection=True) == math.inf
    assert health.statistics(0).state is AccountState.AUTH_FAILED


def test_switched_off_nothing_ejects_but_what_the_upstream_says_counts() -> None:
    """``enabled = false`` in the file says that Retry-After is still obeyed."""
    health = Health(BreakerSettings(enabled=False, strikes=1))
    health.strike(0)
    assert health.available_at() < 0
    health.cool_down(0, 100, "429")
    assert health.available_at() == 100
    health.disable("401")
    assert health.is_disabled
