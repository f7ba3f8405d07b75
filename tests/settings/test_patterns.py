"""Two patterns overlap when one name matches both."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.settings.patterns import are_close, bare_name, common, is_match, may_overlap

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


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (["*"], ["claude-*", "arn:*"], ("claude-*", "arn:*")),
        (["claude-*"], ["claude-opus-4-6", "gpt-*"], ("claude-opus-4-6",)),
        (["claude-*"], ["*"], ("claude-*",)),
        (["claude-*"], ["*-sonnet"], ("claude-*",)),
        (["claude-*", "*"], ["claude-x"], ("claude-x",)),
        ([], ["*"], ()),
    ],
)
def test_of_two_patterns_that_overlap_the_narrower_is_common(
    one: list[str], other: list[str], both: tuple[str, ...]
) -> None:
    assert common(one, other) == both


def test_a_name_with_the_suffix_of_the_long_context_is_still_that_models() -> None:
    assert bare_name("claude-opus-4-6[1m]") == "claude-opus-4-6"
    assert is_match("claude-opus-4-6[1m]", ["x", "claude-opus-4-6"])
    assert is_match("claude-opus-4-6[1m]", ["claude-opus-4-6[[]1m]"])
    assert not is_match("claude-opus-4-6[2m]", ["claude-opus-4-6"])
    assert not is_match("claude-opus-4-6", ["claude-opus-4-6[[]1m]"])


def test_one_pattern_of_each_is_enough() -> None:
    assert may_overlap(["x", "a*"], ["y", "ab"])
    assert not may_overlap(["x", "a*"], [])


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        ("gemini*", "gemini-*", True),
        ("gemini*", "[a-z]*.[a-z]*", False),
        ("amazon.*", "[a-z]*.[a-z]*", True),
        ("*", "[a-z]*.[a-z]*", True),
        ("claude-2.1", "claude-*", True),
        ("*sonnet*", "claude-*", False),
        ("a?c", "a*", True),
    ],
)
def test_closer_than_an_overlap(one: str, other: str, close: bool) -> None:
    assert are_close(one, other) is are_close(other, one) is close
    assert may_overlap([one], [other])


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
