"""The text of every simulated model, and how words are counted: one text for all vendors, so that answers compare."""

from __future__ import annotations

from functools import lru_cache

_TEXT = (
    "a slot is held by exactly the task that talks to the upstream for as long as that task lives and when "
    "the client hangs up everything below it is cancelled closed counted and given back so nothing leaks and "
    "the next one in the queue may begin its own stream of words without ever having to wait for a ghost"
)
_WORDS = tuple(_TEXT.split())
_NOT_READ = frozenset({"cache_control", "type", "role"})
"""Keys whose values a model does not read."""


@lru_cache(maxsize=256)
def words(chars: int | None) -> tuple[str, ...]:
    """The deltas in order, to be repeated from the first; each of ``chars`` characters, None for a word and a space."""
    if chars is None:
        return tuple(f"{word} " for word in _WORDS)
    return tuple((f"{word} " * (chars // len(word) + 1))[:chars] for word in _WORDS)


def text_of(count: int, chars: int | None = None) -> str:
    """The text that ``count`` text deltas make."""
    table = words(chars)
    return "".join(table[index % len(table)] for index in range(count))


def thinking_of(count: int) -> str:
    """The text that ``count`` thinking deltas make."""
    return text_of(count)


def count_words(value: object) -> int:
    """Words in every string of a JSON value; numbers and keys are free."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(map(count_words, value))
    if isinstance(value, dict):
        return sum(count_words(item) for key, item in value.items() if key not in _NOT_READ)
    return 0
