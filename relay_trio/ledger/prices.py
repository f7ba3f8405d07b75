"""What tokens cost, from the price list bundled with genai-prices. Offline; a model it does not know has no price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

if TYPE_CHECKING:
    from relay_trio.chunks import UsageStats

_PROVIDERS = {"anthropic": "anthropic", "bedrock": "aws", "gemini": "google"}
_MTOK = 1_000_000


@dataclass(frozen=True, slots=True)
class _FlatRates:
    """USD per million tokens."""

    input: float
    output: float
    cache_write: float
    cache_read: float


def cost_usd(provider: str, model: str, usage: UsageStats, day: str | None = None) -> float | None:
    """USD for ``usage`` of ``model``, or None when the model has no price.

    ``day`` (ISO date, default today) lets prices change over time while each is looked up once a day: the list's own
    calculation takes 120 to 170 microseconds, flat rates taken from it less than two. Tiered prices are left to it.
    """
    rates = _rates(_PROVIDERS[provider], model, day or datetime.now(UTC).date().isoformat())
    if rates is None:
        return None
    if isinstance(rates, _FlatRates):
        return (
            usage.input_tokens * rates.input
            + usage.output_tokens * rates.output
            + usage.cache_creation_tokens * rates.cache_write
            + usage.cache_read_tokens * rates.cache_read
        ) / _MTOK
    return listed_cost_usd(provider, model, usage)


def listed_cost_usd(provider: str, model: str, usage: UsageStats) -> float:
    """The list's own calculation. Its ``input_tokens`` include cached ones, ours do not.

    Raises:
        LookupError: the list does not know the model.
    """
    theirs = Usage(
        input_tokens=usage.input_tokens + usage.cache_creation_tokens + usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
        cache_write_tokens=usage.cache_creation_tokens,
        cache_read_tokens=usage.cache_read_tokens,
    )
    return float(calc_price(theirs, model, provider_id=_PROVIDERS[provider]).total_price)


@lru_cache(maxsize=512)
def _rates(provider_id: str, model: str, day: str) -> _FlatRates | str | None:
    """Flat rates; ``"tiered"``; or None for an unknown model. Clients name the models, so the cache has a bound."""
    try:
        _, found = get_snapshot().find_provider_model(model, None, provider_id, None)
    except LookupError:
        return None
    prices = found.get_prices(datetime.fromisoformat(day).replace(tzinfo=UTC))
    listed = (prices.input_mtok, prices.output_mtok, prices.cache_write_mtok, prices.cache_read_mtok)
    if prices.input_mtok is None or prices.output_mtok is None:
        return "tiered"
    if not all(rate is None or isinstance(rate, Decimal) for rate in listed):
        return "tiered"
    per_input = float(prices.input_mtok)  # type: ignore[arg-type]  # checked above
    return _FlatRates(
        per_input,
        float(prices.output_mtok),  # type: ignore[arg-type]
        per_input if prices.cache_write_mtok is None else float(prices.cache_write_mtok),  # type: ignore[arg-type]
        per_input if prices.cache_read_mtok is None else float(prices.cache_read_mtok),  # type: ignore[arg-type]
    )
