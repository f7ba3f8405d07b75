"""How problems are worded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.config import ConfigError, Problem
from relay_trio.config.problems import shown, written


def test_a_place_is_written_as_in_the_file() -> None:
    assert written(("account", 0, "max_concurrency")) == "account[0].max_concurrency"
    assert written(("server", "listeners", 2)) == "server.listeners[2]"
    assert written(()) == ""


@pytest.mark.parametrize("secret", ["sk-ant-api03-abc", "rt_abc", "AKIAABC", "Bearer x"])
def test_a_secret_in_the_wrong_place_is_not_shown(secret: str) -> None:
    assert secret not in shown(secret)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.dates(), st.none(), st.binary()))
def test_any_value_is_shown_on_one_short_line(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 70


def test_the_error_holds_every_problem() -> None:
    error = ConfigError([Problem("a", "is required"), Problem("b", "is not a setting")])
    assert error.problems == (Problem("a", "is required"), Problem("b", "is not a setting"))
    assert str(error) == "a is required; b is not a setting"
