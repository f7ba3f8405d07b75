"""Which models an account serves."""

from __future__ import annotations

import pytest

from tests.pool.pools import make_account


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
