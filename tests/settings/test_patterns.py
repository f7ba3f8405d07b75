"""Two patterns overlap when one name matches both."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.settings.patterns import may_overlap

NAMES = ["".join(letters) for length in range(9) for letters in product("ab", repeat=length)]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("*", "*", True),
        ("gemini*", "gemini-*", True),
        ("gemini*", "claude-*", False),
        ("claude-*", "*-sonnet", True),
        ("claude-sonnet-4", "claude-*", True),
        ("claude-sonnet-4", "claude-opus-*", False),
        ("*.*", "claude-*", True),
        ("a?c", "ab*d", False),
        ("claude-[hs]*", "claude-sonnet-*", True),
        ("[!", "x", False),
    ],
)
def test_overlap(one: str, other: str, overlap: bool) -> None:
    assert may_overlap([one], [other]) is may_overlap([other], [one]) is overlap


def test_one_pattern_of_each_is_enough() -> None:
    assert may_overlap(["x", "a*"], ["y", "ab"])
    assert not may_overlap(["x", "a*"], [])


_PATTERNS = st.text("ab*?", max_size=4)


@given(_PATTERNS, _PATTERNS)
def test_it_is_so_exactly_when_there_is_such_a_name(one: str, other: str) -> None:
    """Eight letters are enough for two patterns of four characters."""
    exists = any(fnmatchcase(name, one) and fnmatchcase(name, other) for name in NAMES)
    assert may_overlap([one], [other]) is exists


@given(st.text("ab*?[]!-", max_size=6), st.text("ab*?[]!-", max_size=6), st.text("ab[]!-", max_size=5))
def test_a_name_that_matches_both_is_never_missed(one: str, other: str, name: str) -> None:
    if fnmatchcase(name, one) and fnmatchcase(name, other):
        assert may_overlap([one], [other])
