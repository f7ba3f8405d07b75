"""The text that all providers send, and how its words are counted."""

from __future__ import annotations

import pytest

from relay_trio.simulator.text import count_words, text_of, thinking_of, words


@pytest.mark.parametrize("chars", [None, 1, 7, 40])
def test_the_text_of_a_count_is_its_deltas_and_starts_again_at_the_end(chars: int | None) -> None:
    table = words(chars)
    assert text_of(len(table) + 2, chars) == "".join(table) + table[0] + table[1]
    if chars is not None:
        assert {len(word) for word in table} == {chars}
    assert thinking_of(3) == text_of(3)


def test_words_are_counted_in_every_string_that_a_model_reads() -> None:
    value = {"role": "not counted", "parts": [{"text": "two words"}, {"n": 7, "deep": {"x": "one"}}], "type": "no"}
    assert count_words(value) == 3
    assert count_words(None) == count_words(4.5) == 0
