"""Claude's usage objects: the counts, and what a price depends on inside and beside them."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.usage import NO_USAGE, UsageDetails, UsageSource, UsageStats
from relay_trio.vendors.claude.usage import ClaudeUsage


def folded(*usages: dict[str, Any]) -> UsageStats:
    fold = ClaudeUsage()
    for usage in usages:
        fold.overwrite(usage)
    return fold.stats(UsageSource.EXACT)


def split(five_minutes: Any, hour: Any) -> dict[str, Any]:
    return {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}


def test_writes_for_an_hour_are_a_part_of_all_writes() -> None:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 100, "cache_creation": split(40, 60)}
    expected = UsageStats(3, 0, 100, source=UsageSource.EXACT, details=UsageDetails(cache_creation_1h_tokens=60))
    assert folded(usage) == folded(usage, {"output_tokens": 0}) == expected


@pytest.mark.parametrize("total", [{}, {"cache_creation_input_tokens": None}, {"cache_creation_input_tokens": 0}])
def test_the_split_alone_is_enough(total: dict[str, Any]) -> None:
    """Some gateways leave the sum out."""
    usage = {"input_tokens": 3, **total, "cache_creation": split(40, 60.0)}
    assert folded(usage) == UsageStats(
        3, 0, 100, source=UsageSource.EXACT, details=UsageDetails(cache_creation_1h_tokens=60)
    )


@pytest.mark.parametrize("broken", [3, [], split("x", -1), split(None, None), {}])
def test_a_split_that_cannot_be_read_is_left(broken: Any) -> None:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 100, "cache_creation": broken}
    assert folded(usage) == UsageStats(3, 0, 100, source=UsageSource.EXACT)


def test_a_split_is_never_more_than_what_was_written() -> None:
    usage = {"cache_creation_input_tokens": 50, "cache_creation": split(0, 60)}
    assert folded(usage) == UsageStats(
        0, 0, 50, source=UsageSource.EXACT, details=UsageDetails(cache_creation_1h_tokens=50)
    )


def test_the_newest_total_counts_and_the_split_of_before() -> None:
    """A message_delta has no split."""
    first = {"input_tokens": 3, "cache_creation_input_tokens": 100, "cache_creation": split(40, 60)}
    final = folded(first, {"cache_creation_input_tokens": 160, "output_tokens": 9})
    assert (final.cache_creation_tokens, final.details.cache_creation_1h_tokens) == (160, 60)


def test_searches_are_counted_and_fetching_is_free() -> None:
    tools = {"web_search_requests": 2, "web_fetch_requests": 5}
    usage = {"input_tokens": 3, "server_tool_use": {"web_search_requests": 0}}
    stats = folded(usage, {"output_tokens": 1, "server_tool_use": tools})
    assert (stats.details.web_searches, stats.details.server_side_requests) == (2, 0)


def test_what_has_no_figures_here_is_noted() -> None:
    """A tool that is billed by time; steps of another model, or of a context that was left."""
    tools = {"code_execution_requests": 2, "nonsense": "x"}
    steps = [{"type": "compaction"}, {"type": "message"}, {"type": "advisor_message"}, None]
    stats = folded({"input_tokens": 3, "server_tool_use": tools, "iterations": steps})
    assert (stats.details.web_searches, stats.details.server_side_requests) == (0, 4)
    assert folded({"input_tokens": 3, "iterations": [{"type": "message"}]}).details.server_side_requests == 0


def test_zeros_of_a_record_that_shows_its_steps_are_meant() -> None:
    """After a compaction the context is another one, and so is what was read of the cache: recorded."""
    first = {"input_tokens": 100, "cache_read_input_tokens": 55096}
    final = {"input_tokens": 181, "cache_read_input_tokens": 0, "iterations": [{"type": "message"}]}
    assert folded(first, final) == UsageStats(181, source=UsageSource.EXACT)


def test_how_a_request_was_served_is_kept_unless_it_is_the_usual() -> None:
    usual = {"input_tokens": 3, "service_tier": "standard", "speed": "standard", "inference_geo": "not_available"}
    assert folded(usual) == UsageStats(3, source=UsageSource.EXACT)
    stats = folded(usual, {"service_tier": "priority", "speed": "fast", "inference_geo": "US"})
    assert (stats.details.service_tier, stats.details.speed, stats.details.inference_geo) == ("priority", "fast", "us")
    assert folded({"input_tokens": 3, "speed": "fast"}, {"speed": "standard"}).details.speed == ""


@pytest.mark.parametrize("word", [None, 3, "", "two words", "x" * 33, "\n", "fast\x00", {"type": "fast"}])
def test_what_is_no_word_of_an_api_is_not_kept(word: Any) -> None:
    assert folded({"input_tokens": 3, "speed": word}) == UsageStats(3, source=UsageSource.EXACT)


def test_words_and_empty_parts_alone_are_no_usage() -> None:
    assert folded({"service_tier": "priority", "server_tool_use": {"web_search_requests": 0}}) == NO_USAGE
