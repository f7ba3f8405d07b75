"""Prices: offline, ours and the list's are the same, and a model that nobody knows has none."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, StartDateConstraint, Tier, TieredPrices

from relay_trio.ledger import prices
from relay_trio.ledger.prices import CostNote, _rate, cost_of, has_price, load_price_lists, price_lists
from relay_trio.usage import UsageDetails, UsageSource, UsageStats
from relay_trio.vendors.registry import PROVIDERS
from tests.support.vendor_samples import samples_of

if TYPE_CHECKING:
    from collections.abc import Sequence

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOON = AT.timestamp()
LISTS = ("anthropic", "aws", "google")


def usage(uncached: int, output: int, written: int, read: int) -> UsageStats:
    return UsageStats(uncached, output, written, read, UsageSource.EXACT)


SHAPES = [
    usage(1000, 500, 300, 200),
    usage(0, 500, 0, 0),
    usage(7, 0, 0, 0),
    usage(0, 1, 0, 1_000_000),
    usage(199_000, 10, 500, 500),
    usage(199_000, 10, 501, 500),
    usage(1_000_000, 64_000, 1, 1),
]
"""Among them both sides of the list's steps at 200,000 tokens, which count all input together."""


def listed(list_name: str, model: str, stats: UsageStats) -> float | None:
    """The list's own calculation. Its input tokens include cached ones, ours do not."""
    theirs = Usage(
        input_tokens=stats.input_tokens + stats.cache_creation_tokens + stats.cache_read_tokens,
        output_tokens=stats.output_tokens,
        cache_write_tokens=stats.cache_creation_tokens,
        cache_read_tokens=stats.cache_read_tokens,
    )
    try:
        return float(calc_price(theirs, model, provider_id=list_name, genai_request_timestamp=AT).total_price)
    except LookupError:  # some of its entries match no name, not even their own
        return None


def names_at(provider: str, model: str, **settings: Any) -> Sequence[tuple[str, str]]:
    """Where the price of ``model`` stands at an account of ``provider``."""
    return PROVIDERS[provider].price_of(
        samples_of(provider).accounts[0].open(PROVIDERS[provider], **settings)[0], model
    )


def cost_at(provider: str, model: str, stats: UsageStats) -> float | None:
    """What ``stats`` cost at one of the relay's providers."""
    return cost_of(names_at(provider, model), stats, at=NOON).usd


@pytest.mark.parametrize("list_name", LISTS)
def test_ours_is_the_lists_for_every_model_it_has(list_name: str) -> None:
    """The list's way is right and slow, ours is fast: they must never differ, also after an update of the list."""
    (listing,) = (listing for listing in get_snapshot().providers if listing.id == list_name)
    assert len(listing.models) > 20
    for model in listing.models:
        for stats in SHAPES:
            ours = cost_of([(list_name, model.id)], stats, at=NOON).usd
            theirs = listed(list_name, model.id, stats)
            assert ours == (None if theirs is None else pytest.approx(theirs)), (model.id, stats)


MORE: list[dict[str, Any]] = [
    {"cache_creation_1h_tokens": 200},
    {"input_audio_tokens": 300, "input_image_tokens": 200, "input_video_tokens": 100},
    {"output_audio_tokens": 100, "output_image_tokens": 200, "output_video_tokens": 50},
    {"web_searches": 3},
    {"service_tier": "batch", "cache_creation_1h_tokens": 200},
    {"service_tier": "priority"},
    {"service_tier": "flex"},
    {"speed": "fast", "cache_creation_1h_tokens": 300},
]

CONTEXTS = {
    "batch": {"processing": "batch"},
    "priority": {"service_tier": "priority"},
    "flex": {"service_tier": "flex"},
}


def listed_with_more(list_name: str, model: str, stats: UsageStats) -> float | None:
    """The list's own calculation, of everything that it knows."""
    theirs = Usage(
        input_tokens=stats.input_tokens + stats.cache_creation_tokens + stats.cache_read_tokens,
        output_tokens=stats.output_tokens,
        cache_write_tokens=stats.cache_creation_tokens,
        cache_write_1h_tokens=stats.details.cache_creation_1h_tokens,
        cache_read_tokens=stats.cache_read_tokens,
        input_audio_tokens=stats.details.input_audio_tokens,
        input_image_tokens=stats.details.input_image_tokens,
        input_video_tokens=stats.details.input_video_tokens,
        output_audio_tokens=stats.details.output_audio_tokens,
        output_image_tokens=stats.details.output_image_tokens,
        output_video_tokens=stats.details.output_video_tokens,
        web_searches=stats.details.web_searches,
    )
    context = CONTEXTS.get(stats.details.service_tier) or (
        {"speed": stats.details.speed} if stats.details.speed else None
    )
    try:
        found = calc_price(theirs, model, provider_id=list_name, genai_request_timestamp=AT, price_context=context)
    except LookupError:
        return None
    return float(found.total_price)


def has_batch_prices(model: ModelInfo) -> bool:
    """Whether the list has them; it has those of the newest models only, and every vendor takes half."""
    return any(variant.when == {"processing": "batch"} for variant in model.price_variants or ())


@pytest.mark.parametrize("list_name", LISTS)
def test_ours_is_the_lists_for_whatever_else_a_price_depends_on(list_name: str) -> None:
    (listing,) = (listing for listing in get_snapshot().providers if listing.id == list_name)
    noted: Counter[str] = Counter()
    for model in listing.models:
        for base, more in itertools.product((usage(1000, 500, 300, 0), usage(250_000, 500, 300, 0)), MORE):
            stats = replace(base, details=UsageDetails(**more))
            ours = cost_of([(list_name, model.id)], stats, at=NOON)
            theirs = listed_with_more(list_name, model.id, stats)
            if theirs is not None and more.get("service_tier") == "batch" and not has_batch_prices(model):
                theirs /= 2
            assert ours.usd == (None if theirs is None else pytest.approx(theirs)), (model.id, stats)
            noted.update(ours.note.split(","))
    assert noted["service_tier"]  # no list knows every tier of every model
    assert list_name == "aws" or noted[""]  # and most of it is priced


def noted(provider: str, model: str, **more: Any) -> str:
    return cost_of(
        names_at(provider, model), replace(usage(1000, 500, 300, 200), details=UsageDetails(**more)), at=NOON
    ).note


@pytest.mark.parametrize(
    ("provider", "model", "more", "note"),
    [
        ("anthropic", "claude-opus-4-8", {}, ""),
        ("anthropic", "claude-opus-4-8", {"cache_creation_1h_tokens": 300}, ""),
        ("anthropic", "claude-opus-4-8", {"speed": "fast"}, ""),
        ("anthropic", "claude-opus-4-8", {"service_tier": "batch"}, ""),
        ("anthropic", "claude-opus-4-8", {"web_searches": 1}, ""),
        ("anthropic", "claude-opus-4-8", {"service_tier": "priority"}, "service_tier"),
        ("anthropic", "claude-opus-4-8", {"inference_geo": "us"}, "inference_geo"),
        ("anthropic", "claude-sonnet-4-5", {"speed": "fast", "server_side_requests": 2}, "speed,server_side"),
        ("anthropic", "claude-sim", {"speed": "fast"}, "unknown_model"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"cache_creation_1h_tokens": 300}, ""),
        ("bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", {"cache_creation_1h_tokens": 300}, "cache_1h"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"service_tier": "flex"}, "service_tier"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"speed": "optimized"}, "speed"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"web_searches": 1}, "web_search"),
        ("gemini", "gemini-2.5-flash", {"input_audio_tokens": 300, "input_image_tokens": 9}, ""),
        ("gemini", "gemini-3-pro-image-preview", {"output_image_tokens": 300}, ""),
        ("gemini", "gemini-2.5-pro", {"output_image_tokens": 300, "output_audio_tokens": 3}, "audio,image"),
        ("gemini", "gemini-2.5-pro", {"grounded_answers": 1}, "grounding"),
        ("vertex", "gemini-2.5-pro", {"service_tier": "provisioned_throughput"}, "service_tier"),
    ],
)
def test_what_no_list_knows_is_named(provider: str, model: str, more: dict[str, Any], note: str) -> None:
    assert noted(provider, model, **more) == note
    assert set(note.split(",")) <= {*CostNote, ""}


def test_an_hour_in_the_cache_costs_twice_the_input() -> None:
    """3 USD input, 3.75 for five minutes, 6 for an hour: of 2000 tokens written, 500 for an hour."""
    stats = replace(usage(0, 0, 2000, 0), details=UsageDetails(cache_creation_1h_tokens=500))
    expected = (1500 * 3.75 + 500 * 6) / 1e6
    assert cost_at("anthropic", "claude-sonnet-4-5", stats) == pytest.approx(expected)


def test_a_step_of_a_long_context_holds_for_the_parts_too() -> None:
    """Audio of Gemini 2.5 Pro has the price of text, which is twice as much beyond 200,000 tokens."""
    for count, rate in ((200_000, 1.25), (200_001, 2.5)):
        stats = replace(usage(count, 0, 0, 0), details=UsageDetails(input_audio_tokens=count))
        assert cost_at("gemini", "gemini-2.5-pro", stats) == pytest.approx(count * rate / 1e6)


def test_prices_have_a_date_that_is_not_in_the_future() -> None:
    lists = price_lists()
    assert "2026-01-01" < lists.newest <= datetime.now(UTC).date().isoformat()
    assert str(lists).startswith("genai-prices ")


def test_whether_a_model_has_a_price_is_known_without_any_usage() -> None:
    assert has_price([("anthropic", "claude-opus-4-8")], at=NOON)
    assert not has_price([("anthropic", "claude-sim")], at=NOON)


def test_of_several_steps_the_highest_that_was_passed_counts() -> None:
    """None of our providers has more than one today."""
    rate = _rate(TieredPrices(Decimal(1), [Tier(10, Decimal(2)), Tier(20, Decimal(3))]))
    assert rate is not None
    assert [rate.at(tokens) for tokens in (0, 10, 11, 20, 21, 99)] == [1, 1, 2, 2, 3, 3]


def test_cached_tokens_are_priced_once() -> None:
    """3 USD input, 15 output, 3.75 written to the cache, 0.30 read from it, each for its own tokens alone."""
    stats = usage(1000, 100, 2000, 4000)
    expected = (1000 * 3 + 100 * 15 + 2000 * 3.75 + 4000 * 0.3) / 1e6
    assert cost_of([("anthropic", "claude-3-7-sonnet-20250219")], stats, at=NOON).usd == pytest.approx(expected)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-opus-4-1-20250805"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "anthropic.claude-3-5-haiku-20241022-v1:0"),
        ("gemini", "gemini-2.5-pro"),
        ("gemini", "gemini-2.5-flash"),
        ("vertex", "gemini-2.5-flash"),
    ],
)
def test_names_as_requests_have_them_are_known(provider: str, model: str) -> None:
    assert (cost_at(provider, model, usage(1000, 1000, 0, 0)) or 0) > 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_list_that_a_provider_names_is_one(provider: str) -> None:
    known = {listing.id for listing in get_snapshot().providers}
    assert {name for name, _ in names_at(provider, "model")} <= known


@pytest.mark.parametrize(
    "names", [[], [("anthropic", "claude-sim")], [("anthropic", "")], [("google", "\ud800"), ("aws", "claude-sim")]]
)
def test_what_is_unknown_has_no_price(names: list[tuple[str, str]]) -> None:
    assert cost_of(names, usage(1, 1, 1, 1), at=NOON).usd is None


def test_the_first_name_that_is_known_counts() -> None:
    names = [("anthropic", "claude-sim"), ("anthropic", "claude-opus-4-1"), ("anthropic", "claude-sonnet-4-5")]
    stats = usage(1000, 100, 0, 0)
    assert cost_of(names, stats, at=NOON).usd == cost_of(names[1:2], stats, at=NOON).usd


def test_no_usage_has_no_price_and_an_explicit_zero_costs_nothing() -> None:
    names = [("anthropic", "claude-opus-4-1")]
    assert cost_of(names, UsageStats(), at=NOON).usd is None
    assert cost_of(names, UsageStats(source=UsageSource.EXACT), at=NOON).usd == 0.0


def test_names_that_clients_make_up_take_no_memory() -> None:
    """The list matches by prefix, so one model has endless names; neither our cache nor the list's may keep them."""
    cost_at("anthropic", "claude-sonnet-4-5", usage(1, 1, 0, 0))
    before = len(get_snapshot()._lookup_cache)
    for number in range(2000):
        assert cost_at("anthropic", f"claude-sonnet-4-5-{number}", usage(1, 1, 0, 0))
    assert len(get_snapshot()._lookup_cache) == before
    assert prices._rates.cache_info().currsize <= 512


def test_a_price_is_that_of_the_day_of_the_request() -> None:
    """Some listed prices have a start date: the same model before and after it."""
    dated = [
        (model.id, price.constraint.start_date)
        for listing in get_snapshot().providers
        if listing.id == "google"
        for model in listing.models
        if isinstance(model.prices, list)
        for price in model.prices
        if isinstance(price.constraint, StartDateConstraint)
    ]
    model, start = dated[0]
    noon = datetime(start.year, start.month, start.day, 12, tzinfo=UTC).timestamp()
    stats = usage(10**6, 10**6, 0, 0)
    before, then, after = (cost_of([("google", model)], stats, at=noon + days * 86_400).usd for days in (-1, 0, 1))
    assert before != then == after


def test_no_price_needs_the_network_or_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object) -> None:
        raise AssertionError("the price list went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    threads = threading.active_count()
    cost_at("anthropic", "claude-opus-4-1", usage(1, 1, 1, 1))
    cost_at("anthropic", "nobody-knows-it", usage(1, 1, 1, 1))
    assert threading.active_count() == threads


@pytest.mark.e2e
def test_a_fresh_process_prices_without_the_network() -> None:
    """Also the first use, which loads the list."""
    code = (
        "import socket, threading\n"
        "socket.socket = None\n"
        "from relay_trio.usage import UsageSource, UsageStats\n"
        "from relay_trio.ledger.prices import cost_of\n"
        "stats = UsageStats(1000, source=UsageSource.EXACT)\n"
        "assert cost_of([('anthropic', 'claude-opus-4-1')], stats, at=1.8e9).usd > 0\n"
        "assert threading.active_count() == 1\n"
    )
    code = code.replace("socket.socket = None\n", "socket.socket.connect = socket.getaddrinfo = None\n")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_claude_name_that_was_translated_for_bedrock_has_claudes_price() -> None:
    stats = usage(1000, 500, 300, 200)
    assert cost_at("bedrock", "claude-sonnet-4-5", stats) == cost_at("anthropic", "claude-sonnet-4-5", stats)
    assert cost_at("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", stats) is not None
    assert cost_at("bedrock", "nobody.claude-sonnet-x", stats) is None


SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:eu-central-1:123456789012:"


@pytest.mark.parametrize(
    ("model", "model_ids", "same_as"),
    [
        ("claude-sonnet-4-5", {"claude-sonnet-4-5": f"eu.{SONNET}"}, f"eu.{SONNET}"),
        ("claude-sonnet-4-5[1m]", {"claude-sonnet-4-5": f"eu.{SONNET}"}, f"eu.{SONNET}"),
        ("house-model", {"house-model": f"{ARN}inference-profile/eu.{SONNET}"}, f"eu.{SONNET}"),
        (f"{ARN}inference-profile/global.{SONNET}", {}, f"global.{SONNET}"),
        (f"arn:aws:bedrock:eu-central-1::foundation-model/{SONNET}", {}, SONNET),
        ("claude-sonnet-4-5", {"claude-sonnet-4-5": f"{ARN}application-inference-profile/a1b2c3"}, None),
    ],
)
def test_what_an_account_calls_a_model_has_its_price(
    model: str, model_ids: dict[str, str], same_as: str | None
) -> None:
    """An application's own profile has a number for a name: then the client's name is looked up."""
    stats = usage(1000, 500, 300, 200)
    names = names_at("bedrock", model, model_ids=model_ids)
    expected = cost_at("anthropic", model, stats) if same_as is None else cost_at("bedrock", same_as, stats)
    assert expected is not None
    assert cost_of(names, stats, at=NOON).usd == pytest.approx(expected)


def test_a_name_with_the_suffix_for_the_long_context_has_the_price_of_the_model() -> None:
    stats = usage(1000, 500, 300, 200)
    cost = cost_at("anthropic", "claude-sonnet-5", stats)
    assert cost is not None
    assert cost_at("anthropic", "claude-sonnet-5[1m]", stats) == cost


def test_once_the_lists_are_loaded_a_look_up_does_not_hold_up_the_loop() -> None:
    """A name that no list knows takes longest: each is compared with every entry."""
    load_price_lists()
    began = perf_counter()
    for number in range(50):
        cost_at("bedrock", f"nobody-knows-number-{number}", usage(1, 1, 1, 1))
    assert (perf_counter() - began) / 50 < 0.01
