"""What tokens cost, from the price list bundled with genai-prices. Offline; a model it does not know has no price.

The list's own calculation takes 100 to 200 microseconds for one request; looked up once for each model and day, and
multiplied here, it takes about three. A test compares the two for every model of our providers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING

from genai_prices.data_snapshot import get_snapshot

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import TieredPrices

    from relay_trio.usage import UsageStats

LIST_NAMES = {"anthropic": "anthropic", "bedrock": "aws", "gemini": "google", "vertex": "google"}
"""Our providers as the list calls them."""

_MTOK = 1_000_000
_DAY_SECONDS = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Rate:
    """USD per million tokens; ``tiers`` are (more input tokens than, rate), highest first, for *all* tokens."""

    base: float
    tiers: tuple[tuple[int, float], ...] = ()

    def at(self, all_input_tokens: int) -> float:
        for start, rate in self.tiers:
            if all_input_tokens > start:
                return rate
        return self.base


@dataclass(frozen=True, slots=True)
class _Rates:
    input: _Rate
    output: _Rate
    cache_write: _Rate
    cache_read: _Rate


def cost_usd(provider: str, model: str, usage: UsageStats, *, at: float | None = None) -> float | None:
    """USD for ``usage`` of ``model`` (the name in the request), or None when the model has no price.

    ``at``: when the request began, epoch seconds (default: now); prices change from day to day (UTC).
    """
    day = int((time() if at is None else at) // _DAY_SECONDS)
    rates = _rates(provider, model, day)
    if rates is None:
        return None
    every_input = usage.input_tokens + usage.cache_creation_tokens + usage.cache_read_tokens
    return (
        usage.input_tokens * rates.input.at(every_input)
        + usage.output_tokens * rates.output.at(every_input)
        + usage.cache_creation_tokens * rates.cache_write.at(every_input)
        + usage.cache_read_tokens * rates.cache_read.at(every_input)
    ) / _MTOK


@lru_cache(maxsize=512)  # clients name the models, so what is remembered has a bound
def _rates(provider: str, model: str, day: int) -> _Rates | None:
    """The rates of one day, or None for a model or provider that the list does not know."""
    name = LIST_NAMES.get(provider)
    if name is None:
        return None
    listing = get_snapshot()
    # Not find_provider_model: it keeps every name it ever matched, and it matches by prefix.
    found = listing.find_provider(None, name, None).find_model(model, all_providers=listing.providers)
    if found is None and provider == "bedrock" and "." not in model:
        # What a Claude client named, translated: the list knows it where it is from, at the price without a region's
        # premium.
        found = listing.find_provider(None, "anthropic", None).find_model(model, all_providers=listing.providers)
    if found is None:
        return None
    prices = found.get_prices(_EPOCH + timedelta(days=day))
    for_input = _rate(prices.input_mtok) or _Rate(0.0)
    return _Rates(
        for_input,
        _rate(prices.output_mtok) or _Rate(0.0),
        _rate(prices.cache_write_mtok) or for_input,  # the list's rule: without a price of its own it is input
        _rate(prices.cache_read_mtok) or for_input,
    )


def _rate(price: Decimal | TieredPrices | None) -> _Rate | None:
    if price is None:
        return None
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return _Rate(float(price))  # type: ignore[arg-type]  # a Decimal, having no tiers
    highest_first = tuple((tier.start, float(tier.price)) for tier in reversed(tiers))
    return _Rate(float(price.base), highest_first)  # type: ignore[union-attr]  # it has tiers
