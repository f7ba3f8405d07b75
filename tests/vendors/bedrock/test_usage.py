"""Bedrock's figures: in bodies, beside them, and in the heads of answers whose bodies say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.http import ResponseHead
from relay_trio.usage import NO_USAGE, UsageDetails, UsageSource, UsageStats
from relay_trio.vendors.bedrock.usage import ConverseUsage, invoke_usage, known_by

COUNTS = [
    (b"x-amzn-bedrock-input-token-count", b"4"),
    (b"x-amzn-bedrock-output-token-count", b"5"),
    (b"x-amzn-bedrock-cache-read-input-token-count", b"18131"),
    (b"x-amzn-bedrock-cache-write-input-token-count", b"7"),
]
SERVED = [(b"x-amzn-bedrock-service-tier", b"priority"), (b"x-amzn-bedrock-performanceconfig-latency", b"optimized")]


def head(*fields: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(200, [(b"content-type", b"application/json"), *fields])


def test_the_counts_of_the_head_are_the_usage_where_the_body_has_none() -> None:
    """An image, or a document in a format of the model's own."""
    for source in (UsageSource.NONE, UsageSource.EXACT):
        fold = invoke_usage(known_by(head(*COUNTS)))
        fold.overwrite({"other": 3})
        assert fold.stats(source) == UsageStats(4, 5, 7, 18131, UsageSource.EXACT)


def test_figures_of_the_body_count_before_those_of_the_head() -> None:
    fold = invoke_usage(known_by(head(*COUNTS)))
    fold.overwrite({"input_tokens": 9})
    assert fold.stats(UsageSource.EXACT) == UsageStats(9, source=UsageSource.EXACT)


def test_figures_of_the_head_stand_in_for_those_of_a_body_that_cannot_be() -> None:
    fold = invoke_usage(known_by(head(*COUNTS)))
    fold.overwrite({"input_tokens": -9})
    assert fold.stats(UsageSource.EXACT) == UsageStats(4, 5, 7, 18131, UsageSource.EXACT)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"x", b"9" * 40, b"\xb2"])
def test_a_head_with_figures_that_are_no_counts_says_nothing(value: bytes) -> None:
    assert known_by(head((b"x-amzn-bedrock-input-token-count", value))) == {}


def test_how_a_request_was_served_is_in_the_head_whatever_the_body_says() -> None:
    fold = invoke_usage(known_by(head(*SERVED)))
    assert fold.stats(UsageSource.EXACT) == NO_USAGE
    fold.overwrite({"input_tokens": 9})
    assert fold.stats(UsageSource.EXACT) == UsageStats(
        9, source=UsageSource.EXACT, details=UsageDetails(service_tier="priority", speed="optimized")
    )
    assert known_by(head((SERVED[0][0], b"default"))) == {}


def test_converse_says_how_a_request_was_served_beside_its_usage() -> None:
    fold = ConverseUsage()
    beside = {"serviceTier": {"type": "flex"}, "performanceConfig": {"latency": "standard"}}
    fold.overwrite({"inputTokens": 3, "outputTokens": 4}, beside)
    assert fold.stats(UsageSource.EXACT) == UsageStats(
        3, 4, source=UsageSource.EXACT, details=UsageDetails(service_tier="flex")
    )


def test_converse_splits_what_was_written_to_the_cache() -> None:
    details: list[Any] = [{"ttl": "5m", "inputTokens": 40}, {"ttl": "1h", "inputTokens": 60}, None, {"ttl": "2h"}]
    for total in (100, None):
        fold = ConverseUsage()
        fold.overwrite({"inputTokens": 3, "cacheWriteInputTokens": total, "cacheDetails": details})
        assert fold.stats(UsageSource.EXACT) == UsageStats(
            3, 0, 100, source=UsageSource.EXACT, details=UsageDetails(cache_creation_1h_tokens=60)
        )


@pytest.mark.parametrize("beside", [{"serviceTier": "flex"}, {"serviceTier": {"type": 3}}, {"performanceConfig": None}])
def test_what_cannot_be_read_is_left(beside: dict[str, Any]) -> None:
    fold = ConverseUsage()
    fold.overwrite({"inputTokens": 3, "cacheDetails": 7}, beside)
    assert fold.stats(UsageSource.EXACT) == UsageStats(3, source=UsageSource.EXACT)
