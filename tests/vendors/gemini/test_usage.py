"""Gemini's counts: a sum and its parts, which may contradict each other; and what a price depends on beside them."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.usage import NO_USAGE, UsageDetails, UsageSource, UsageStats
from relay_trio.vendors.gemini.usage import GeminiUsage
from tests.support.gemini_answers import counts


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (counts(15, candidatesTokenCount=5), (10, 5, 0)),
        (counts(10), (10, 0, 0)),
        (counts(165, 87, thoughtsTokenCount=78), (87, 78, 0)),  # a part went missing, as recorded
        (counts(65, 9, candidatesTokenCount=21), (9, 56, 0)),
        (counts(30, toolUsePromptTokenCount=8, candidatesTokenCount=12), (18, 12, 0)),
        (counts(40, 30, cachedContentTokenCount=25, candidatesTokenCount=10), (5, 10, 25)),
        (counts(0, 0), (0, 0, 0)),
        ({"totalTokenCount": 7}, (0, 7, 0)),
    ],
)
def test_the_total_is_the_sum_of_the_parts(reported: dict[str, int], expected: tuple[int, int, int]) -> None:
    fold = GeminiUsage()
    fold.overwrite(reported)
    usage = fold.stats(UsageSource.EXACT)
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == expected
    assert usage.total_tokens == reported["totalTokenCount"]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (counts(-1), (10, 0, 0)),
        (counts(5, candidatesTokenCount=3), (10, 3, 0)),  # less than was put in
        (counts(20, cachedContentTokenCount=11), (0, 10, 10)),
        (counts(20, thoughtsTokenCount=-4), (10, 10, 0)),
        ({**counts(20, candidatesTokenCount=7), "promptTokenCount": "10"}, (0, 7, 0)),
        ({**counts(20, candidatesTokenCount=7, thoughtsTokenCount=1), "totalTokenCount": True}, (10, 8, 0)),
        (counts(2**60), (10, 0, 0)),
        ({**counts(20), "candidatesTokenCount": 1.5}, (10, 10, 0)),
        ({"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 2}, (9, 6, 0)),
    ],
)
def test_figures_that_contradict_each_other_are_booked_by_parts_and_flagged(
    wrong: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    """A row without tokens would be a gift; the source says that we added them up."""
    fold = GeminiUsage()
    assert fold.overwrite(wrong)
    usage = fold.stats(UsageSource.EXACT)
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == expected
    assert usage.source is UsageSource.ESTIMATED
    assert fold.stats(UsageSource.PARTIAL).source is UsageSource.PARTIAL
    fold.overwrite(counts(12))
    assert fold.stats(UsageSource.EXACT) == UsageStats(10, 2, source=UsageSource.EXACT)


def test_figures_of_which_none_is_a_count_are_no_usage() -> None:
    fold = GeminiUsage()
    fold.overwrite({"totalTokenCount": "many", "promptTokenCount": -3})
    assert fold.stats(UsageSource.EXACT) == NO_USAGE
    fold.overwrite(counts(12))
    fold.overwrite({"totalTokenCount": "many", "promptTokenCount": -3})
    assert fold.stats(UsageSource.EXACT) == UsageStats(10, 2, source=UsageSource.ESTIMATED)


@pytest.mark.parametrize("nothing", [None, {}, [], 3, {"trafficType": "ON_DEMAND"}, {"promptTokenCount": 9}])
def test_a_record_without_a_total_changes_nothing(nothing: object) -> None:
    """Vertex sends those in the middle of its streams."""
    fold = GeminiUsage()
    fold.overwrite(counts(12))
    assert not fold.overwrite(nothing)
    assert fold.stats(UsageSource.EXACT).total_tokens == 12


def test_a_record_of_zeros_replaces_none_that_counted() -> None:
    fold = GeminiUsage()
    fold.overwrite(counts(12.0))
    assert fold.overwrite(counts(0, 0))
    assert fold.stats(UsageSource.EXACT) == UsageStats(10, 2, source=UsageSource.EXACT)


def test_embeddings_have_no_total() -> None:
    fold = GeminiUsage(needs_total=False)
    fold.overwrite({"promptTokenCount": 7, "promptTokensDetails": []})
    assert fold.stats(UsageSource.EXACT) == UsageStats(input_tokens=7, source=UsageSource.EXACT)
    assert not GeminiUsage(needs_total=False).overwrite({"trafficType": "ON_DEMAND"})


# --- what a price depends on --------------------------------------------------------------------------------------


def recorded(usage: dict[str, Any], **beside: Any) -> UsageStats:
    fold = GeminiUsage()
    fold.overwrite(usage, beside)
    return fold.stats(UsageSource.EXACT)


def by_modality(**figures: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": figure} for name, figure in figures.items()]


def test_tokens_that_are_not_text_are_parts_of_the_counts() -> None:
    """Google's prompt and its list hold what was cached; ours do not."""
    usage = {
        **counts(2300, 1000, cachedContentTokenCount=300, candidatesTokenCount=1300),
        "promptTokensDetails": by_modality(TEXT=200, AUDIO=600, DOCUMENT=100, IMAGE=100),
        "cacheTokensDetails": by_modality(TEXT=100, AUDIO=200),
        "candidatesTokensDetails": by_modality(TEXT=10, IMAGE=1290),
    }
    assert recorded(usage) == UsageStats(
        700,
        1300,
        cache_read_tokens=300,
        source=UsageSource.EXACT,
        details=UsageDetails(
            input_audio_tokens=400, input_image_tokens=200, cache_read_audio_tokens=200, output_image_tokens=1290
        ),
    )


@pytest.mark.parametrize(
    "details", [None, 3, [None], [{"modality": 3}], [{"modality": "AUDIO", "tokenCount": -1}], by_modality(AUDIO=99)]
)
def test_details_that_cannot_be_are_left(details: Any) -> None:
    assert recorded({**counts(12), "promptTokensDetails": details}) == UsageStats(10, 2, source=UsageSource.EXACT)


def test_a_newer_record_replaces_the_details_too() -> None:
    fold = GeminiUsage()
    fold.overwrite({**counts(30), "candidatesTokensDetails": by_modality(IMAGE=20)})
    fold.overwrite({**counts(40), "candidatesTokensDetails": by_modality(IMAGE=25)})
    assert fold.stats(UsageSource.EXACT).details.output_image_tokens == 25
    fold.overwrite(counts(50))
    assert fold.stats(UsageSource.EXACT).details.output_image_tokens == 0


@pytest.mark.parametrize(
    ("answer", "tier"),
    [
        ({"serviceTier": "standard"}, ""),
        ({"serviceTier": "flex"}, "flex"),
        ({"serviceTier": "SERVICE_TIER_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, ""),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": 7}, ""),
        ({"trafficType": "what a client wrote"}, ""),
    ],
)
def test_both_services_say_how_a_request_was_served(answer: dict[str, Any], tier: str) -> None:
    assert recorded({**counts(12), **answer}).details.service_tier == tier


@pytest.mark.parametrize(
    ("grounding", "is_grounded"),
    [
        ({"webSearchQueries": ["who won"]}, 1),
        ({"groundingChunks": [{"maps": {"placeId": "p"}}]}, 1),
        ({"groundingChunks": [{"retrievedContext": {"uri": "gs://own"}}]}, 0),
        ({"webSearchQueries": []}, 0),
        ({}, 0),
        (None, 0),
    ],
)
def test_a_prompt_is_grounded_where_google_looked_something_up(grounding: Any, is_grounded: int) -> None:
    assert (
        recorded(counts(12), candidates=[None, {"groundingMetadata": grounding}]).details.grounded_answers
        == is_grounded
    )
