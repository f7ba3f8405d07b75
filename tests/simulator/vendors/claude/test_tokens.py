"""Words are tokens, and the cache remembers prefixes."""

from __future__ import annotations

from typing import Any

from relay_trio.simulator.vendors.claude.tokens import InputTokens, PromptCache, count_tokens

CACHED = {"type": "text", "text": "four words of system", "cache_control": {"type": "ephemeral"}}


def document(question: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": question}], **fields}


def test_the_count_is_of_words_and_blocks_in_tools_system_and_messages() -> None:
    assert count_tokens(document("three words here")) == 6
    assert (
        count_tokens(document("three words here", system="be brief", tools=[{"name": "a", "description": "b c"}])) == 17
    )
    assert count_tokens({}) == 0


def test_a_prefix_is_created_once_and_then_read() -> None:
    cache = PromptCache()
    first = document("one", system=[CACHED])
    assert cache.count(first, "a") == InputTokens(4, 7, 0)
    assert cache.count(document("another one", system=[CACHED]), "a") == InputTokens(5, 0, 7)
    assert cache.count(first, "b") == InputTokens(4, 7, 0)
    assert cache.count({**first, "model": "other"}, "a") == InputTokens(4, 7, 0)
    assert cache.count(first, "a").total == count_tokens(first)


def test_without_cache_control_nothing_is_cached() -> None:
    cache = PromptCache()
    assert [cache.count(document("one two"), "a") for _ in range(2)] == [InputTokens(5, 0, 0)] * 2
