"""Prices: offline, ours and the list's are the same, and a model that nobody knows has none."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from time import perf_counter

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import StartDateConstraint, Tier, TieredPrices

from relay_trio.ledger import prices
from relay_trio.ledger.prices import _rate, cost_usd, load_price_lists
from relay_trio.usage import UsageSource, UsageStats
from relay_trio.vendors.registry import PROVIDERS

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


def cost_at(provider: str, model: str, stats: UsageStats) -> float | None:
    """What ``stats`` cost at one of the relay's providers."""
    return cost_usd(PROVIDERS[provider].price_of(model), stats, at=NOON)


@pytest.mark.parametrize("list_name", LISTS)
def test_ours_is_the_lists_for_every_model_it_has(list_name: str) -> None:
    """The list's way is right and slow, ours is fast: they must never differ, also after an update of the list."""
    (listing,) = (listing for listing in get_snapshot().providers if listing.id == list_name)
    assert len(listing.models) > 20
    for model in listing.models:
        for stats in SHAPES:
            ours = cost_usd([(list_name, model.id)], stats, at=NOON)
            theirs = listed(list_name, model.id, stats)
            assert ours == (None if theirs is None else pytest.approx(theirs)), (model.id, stats)


def test_of_several_steps_the_highest_that_was_passed_counts() -> None:
    """None of our providers has more than one today."""
    rate = _rate(TieredPrices(Decimal(1), [Tier(10, Decimal(2)), Tier(20, Decimal(3))]))
    assert rate is not None
    assert [rate.at(tokens) for tokens in (0, 10, 11, 20, 21, 99)] == [1, 1, 2, 2, 3, 3]


def test_cached_tokens_are_priced_once() -> None:
    """3 USD input, 15 output, 3.75 written to the cache, 0.30 read from it, each for its own tokens alone."""
    stats = usage(1000, 100, 2000, 4000)
    expected = (1000 * 3 + 100 * 15 + 2000 * 3.75 + 4000 * 0.3) / 1e6
    assert cost_usd([("anthropic", "claude-3-7-sonnet-20250219")], stats, at=NOON) == pytest.approx(expected)


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
    assert {name for name, _ in PROVIDERS[provider].price_of("model")} <= known


@pytest.mark.parametrize(
    "names", [[], [("anthropic", "claude-sim")], [("anthropic", "")], [("google", "\ud800"), ("aws", "claude-sim")]]
)
def test_what_is_unknown_has_no_price(names: list[tuple[str, str]]) -> None:
    assert cost_usd(names, usage(1, 1, 1, 1), at=NOON) is None


def test_the_first_name_that_is_known_counts() -> None:
    names = [("anthropic", "claude-sim"), ("anthropic", "claude-opus-4-1"), ("anthropic", "claude-sonnet-4-5")]
    stats = usage(1000, 100, 0, 0)
    assert cost_usd(names, stats, at=NOON) == cost_usd(names[1:2], stats, at=NOON)


def test_no_usage_has_no_price_and_an_explicit_zero_costs_nothing() -> None:
    names = [("anthropic", "claude-opus-4-1")]
    assert cost_usd(names, UsageStats(), at=NOON) is None
    assert cost_usd(names, UsageStats(source=UsageSource.EXACT), at=NOON) == 0.0


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
    before, then, after = (cost_usd([("google", model)], stats, at=noon + days * 86_400) for days in (-1, 0, 1))
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
        "from relay_trio.ledger.prices import cost_usd\n"
        "stats = UsageStats(1000, source=UsageSource.EXACT)\n"
        "assert cost_usd([('anthropic', 'claude-opus-4-1')], stats, at=1.8e9) > 0\n"
        "assert threading.active_count() == 1\n"
    )
    code = code.replace("socket.socket = None\n", "socket.socket.connect = socket.getaddrinfo = None\n")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_claude_name_that_was_translated_for_bedrock_has_claudes_price() -> None:
    stats = usage(1000, 500, 300, 200)
    assert cost_at("bedrock", "claude-sonnet-4-5", stats) == cost_at("anthropic", "claude-sonnet-4-5", stats)
    assert cost_at("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", stats) is not None
    assert cost_at("bedrock", "nobody.claude-sonnet-x", stats) is None


def test_once_the_lists_are_loaded_a_look_up_does_not_hold_up_the_loop() -> None:
    """A name that no list knows takes longest: each is compared with every entry."""
    load_price_lists()
    began = perf_counter()
    for number in range(50):
        cost_at("bedrock", f"nobody-knows-number-{number}", usage(1, 1, 1, 1))
    assert (perf_counter() - began) / 50 < 0.01
