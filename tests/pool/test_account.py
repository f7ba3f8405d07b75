"""Which models an account serves, and what verdicts do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.api.verdict import Verdict
from relay_trio.errors import UpstreamError, UpstreamRateLimited, UpstreamRefused
from relay_trio.pool.health import AccountChange, Change
from relay_trio.settings import BreakerSettings
from tests.pool.pools import make_account

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize(
    ("patterns", "model", "serves"),
    [
        (["*"], "anything", True),
        (["claude-*"], "claude-sonnet-4-5", True),
        (["claude-*"], "Claude-x", False),
        (["a", "b?"], "bc", True),
        (["a", "b?"], "c", False),
        (["claude-*"], None, True),
    ],
)
def test_an_account_serves_what_its_patterns_match(patterns: list[str], model: str | None, serves: bool) -> None:
    assert make_account(models=patterns).serves(model) is serves


def test_the_secret_is_in_no_repr() -> None:
    assert "sk-x" not in repr(make_account())


# --- verdicts -----------------------------------------------------------------------------------------------------

LIMITED = Verdict(UpstreamRateLimited("the upstream answered 429"), cooldown_seconds=5)
FAILED = Verdict(UpstreamError("the upstream answered 500"), is_strike=True)
REFUSED = Verdict(UpstreamRefused("the credential was refused"), is_credential_refused=True)


async def test_the_strike_that_ejects_is_a_change_and_those_before_it_are_none(autojump_clock: MockClock) -> None:
    account = make_account("a", BreakerSettings(strikes=3, eject_seconds=30))
    assert [account.note(FAILED) for _ in range(2)] == [None, None]
    assert account.note(FAILED) == AccountChange("a", Change.EJECTED, "3 failures in a row", 30.0)
    assert account.health.available_at() == trio.current_time() + 30


async def test_an_account_that_cools_down_changes_once_however_many_answers_say_so(
    autojump_clock: MockClock,
) -> None:
    """A hundred requests that were under way are a hundred answers of 429, and one change."""
    account = make_account("a")
    assert account.note(LIMITED) == AccountChange("a", Change.COOLED_DOWN, "the upstream answered 429", 5.0)
    assert account.note(LIMITED) is None
    await trio.sleep(5)
    change = account.note(LIMITED)
    assert change is not None
    assert change.change is Change.COOLED_DOWN


async def test_an_account_is_back_with_the_first_answer_after_its_time(autojump_clock: MockClock) -> None:
    """Not by an answer to a request that was under way when it was taken out."""
    account = make_account("a")
    assert account.note_success() is None
    account.note(LIMITED)
    assert account.note_success() is None
    await trio.sleep(5)
    assert account.note_success() == AccountChange("a", Change.BACK)
    assert account.note_success() is None


async def test_a_refused_credential_of_the_configuration_disables_also_an_account_that_is_cooling(
    autojump_clock: MockClock,
) -> None:
    account = make_account("a")
    account.note(LIMITED)
    assert account.note(REFUSED) == AccountChange("a", Change.DISABLED, "the credential was refused")
    assert account.note(REFUSED) is None
    assert account.note(LIMITED) is None
    assert account.health.is_disabled
    assert account.note_success() is None


async def test_a_verdict_that_blames_nobody_changes_nothing(autojump_clock: MockClock) -> None:
    account = make_account("a", BreakerSettings(strikes=1))
    assert account.note(Verdict(UpstreamError("the upstream answered 400"))) is None
    assert account.health.statistics(trio.current_time()).strikes == 0


async def test_with_the_breaker_off_what_the_upstream_says_is_a_change(autojump_clock: MockClock) -> None:
    account = make_account("a", BreakerSettings(enabled=False, strikes=1))
    assert account.note(FAILED) is None
    assert account.note(LIMITED) is not None
    assert account.note(REFUSED) is not None
