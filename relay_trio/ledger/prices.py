"""What tokens cost, from the price lists bundled with genai-prices. Offline; a model that no list knows has no price.

Called on the event loop when a request is settled, because whoever limits spending has to know. The lists' own
calculation takes 100 to 200 microseconds for one request; looked up once for each model and day, and multiplied here,
it takes about two. The loop is held up longer only by what is bounded: loading the lists takes some 40 ms, once, before
the relay listens (``load_price_lists``); a look-up takes up to 400 microseconds, once for each model and day, and
only for requests whose tokens an upstream has counted. A test compares the two calculations for every model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from genai_prices.data_snapshot import get_snapshot

from relay_trio.usage import UsageSource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from genai_prices.types import TieredPrices

    from relay_trio.usage import UsageStats

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


def load_price_lists() -> None:
    """Load the lists, which the first look-up would do otherwise."""
    get_snapshot()


def cost_usd(names: Iterable[tuple[str, str]], usage: UsageStats, *, at: float) -> float | None:
    """USD for ``usage``, or None when no tokens were seen or the model has no price.

    ``names``: pairs of a list's name and the model's name in it, of which the first that is known counts. ``at``: when
    the request began, epoch seconds; prices change from day to day (UTC).

    Raises:
        Exception: any, by the lists, for an absurd name, figure or date.
    """
    if usage.source is UsageSource.NONE:
        return None
    rates = _rates(tuple(names), int(at // _DAY_SECONDS))
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
def _rates(names: tuple[tuple[str, str], ...], day: int) -> _Rates | None:
    """The rates of one day, or None for what no list knows."""
    lists = get_snapshot()
    for list_name, model in names:
        # Not find_provider_model: it keeps every name it ever matched, and it matches by prefix.
        found = lists.find_provider(None, list_name, None).find_model(model, all_providers=lists.providers)
        if found is not None:
            break
    else:
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
