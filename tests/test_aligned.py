"""Aligned text."""

from __future__ import annotations

from relay_trio.aligned import aligned


def test_words_stand_left_and_numbers_right() -> None:
    rows = [("key", "requests"), ("team-x", "7"), ("y", "1,234,567,890")]
    assert aligned(rows, numbers_from=1) == [
        "key           requests",
        "team-x               7",
        "y        1,234,567,890",
    ]


def test_no_line_ends_in_spaces_and_nothing_is_nothing() -> None:
    assert aligned([("a", "long"), ("b", "")]) == ["a   long", "b"]
    assert aligned([]) == []
