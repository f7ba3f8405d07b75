"""What an answer cost, by the price lists that genai-prices bundles. Offline; a model that no list knows has no price.

Called on the event loop when a request is settled, because whoever limits spending has to know. The lists' own
calculation takes 100 to 200 microseconds for one request; looked up once for each model, day and way of being served,
and multiplied here, it takes about three. The loop is held up longer only by what is bounded: loading the lists takes
some 40 ms, once, before the relay listens (``load_price_lists``); a look-up takes up to 400 microseconds, and only for
requests whose tokens an upstream has counted. A test compares the two calculations for every model.

Where the lists have no price for something that the upstream bills (a tier, a tool), the cost is that of the rest, and
a note says what is missing.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from genai_prices.data_snapshot import get_snapshot

from relay_trio.usage import NO_DETAILS, UsageSource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from genai_prices.types import ModelInfo, TieredPrices

    from relay_trio.usage import UsageDetails, UsagePart, UsageStats

_MTOK = 1_000_000
_KCOUNT = 1_000
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


class CostNote(StrEnum):
    """What a row's cost does not hold, or holds at the usual price because the lists have no other."""

    UNKNOWN_MODEL = "unknown_model"  # nothing: the row has no cost
    SERVICE_TIER = "service_tier"  # a tier of its own price, or none by tokens: priority, flex, provisioned
    SPEED = "speed"  # fast mode, optimised latency
    INFERENCE_GEO = "inference_geo"  # served in one place for more money
    CACHE_1H = "cache_1h"  # one-hour writes, at the price of five minutes
    AUDIO = "audio"  # audio in the output, at the price of text
    IMAGE = "image"
    VIDEO = "video"
    WEB_SEARCH = "web_search"
    GROUNDING = "grounding"  # Google's search and maps: by prompt or by query, beyond a number that is free each day
    SERVER_SIDE = "server_side"  # other tools, a compaction, an advisor, another model's answer


@dataclass(frozen=True, slots=True)
class _Rates:
    """USD per million of each kind of tokens, and per thousand searches; ``notes``: what of the way in which a request
    was served has no price of its own. None: the list has none either for what it is a part of."""

    input: _Rate
    output: _Rate
    cache_write: _Rate
    cache_read: _Rate
    cache_write_1h: _Rate | None
    input_audio: _Rate
    input_image: _Rate
    input_video: _Rate
    cache_read_audio: _Rate
    output_audio: _Rate | None
    output_image: _Rate | None
    output_video: _Rate | None
    web_search: _Rate | None
    notes: tuple[CostNote, ...]


class Cost(NamedTuple):
    """``usd`` is None where no tokens were seen and where the model has no price. ``note``: words of ``CostNote`` with
    commas between them."""

    usd: float | None
    note: str = ""


NO_COST = Cost(None)
_UNKNOWN = Cost(None, CostNote.UNKNOWN_MODEL)

_SHARE_OF_BATCH = 0.5
"""What every vendor takes for a batch; the lists have the prices of their newest models only."""

_OWN_CONTEXT = {"batch": ("processing", "batch")}
"""Tiers that the lists have by another name. All others are ``service_tier`` there."""


@dataclass(frozen=True, slots=True)
class PriceLists:
    """Which lists there are: the ``version`` of their package, and the day from which their newest price counts, such
    as ``2026-11-04``. They have no date of their own, and are at least as new as that."""

    version: str
    newest: str

    def __str__(self) -> str:
        return f"genai-prices {self.version}, newest price of {self.newest}"


def load_price_lists() -> None:
    """Load the lists, which the first look-up would do otherwise."""
    price_lists()


@cache
def price_lists() -> PriceLists:
    """Which lists there are. A price that counts from a day to come is not the newest yet."""
    today = datetime.now(UTC).date()
    starts = (
        start
        for listing in get_snapshot().providers
        for model in listing.models
        for price in (model.prices if isinstance(model.prices, list) else ())
        if (start := getattr(price.constraint, "start_date", None)) is not None and start <= today
    )
    return PriceLists(importlib.metadata.version("genai-prices"), max(starts).isoformat())


def has_price(names: Iterable[tuple[str, str]], *, at: float) -> bool:
    """Whether a model has a price on the day of ``at``, epoch seconds. ``names``: as for ``cost_of``."""
    return _rates(tuple(names), int(at // _DAY_SECONDS), "", "") is not None


def cost_of_parts(parts: Iterable[tuple[Iterable[tuple[str, str]], UsagePart]], *, at: float) -> Cost:
    """What many answers cost together, each part with its model's ``names``. A model without a price is noted.

    Raises:
        Exception: as ``cost_of``.
    """
    costs = [cost_of(names, part.usage, at=at, every_input=part.every_input) for names, part in parts]
    usds = [cost.usd for cost in costs if cost.usd is not None]
    notes = dict.fromkeys(note for cost in costs for note in cost.note.split(",") if note)
    return Cost(sum(usds) if usds else None, ",".join(notes))


def cost_of(names: Iterable[tuple[str, str]], usage: UsageStats, *, at: float, every_input: int | None = None) -> Cost:
    """What ``usage`` cost. ``every_input``: the input that decides on steps of a price, where it is not that of
    ``usage``.

    ``names``: pairs of a list's name and the model's name in it, of which the first that is known counts. ``at``: when
    the request began, epoch seconds; prices change from day to day (UTC).

    Raises:
        Exception: any, by the lists, for an absurd name, figure or date.
    """
    if usage.source is UsageSource.NONE:
        return NO_COST
    rates = _rates(tuple(names), int(at // _DAY_SECONDS), usage.details.service_tier, usage.details.speed)
    if rates is None:
        return _UNKNOWN
    if every_input is None:
        every_input = usage.input_tokens + usage.cache_creation_tokens + usage.cache_read_tokens
    usd = (
        usage.input_tokens * rates.input.at(every_input)
        + usage.output_tokens * rates.output.at(every_input)
        + usage.cache_creation_tokens * rates.cache_write.at(every_input)
        + usage.cache_read_tokens * rates.cache_read.at(every_input)
    ) / _MTOK
    if usage.details is NO_DETAILS:
        return Cost(usd)
    return _with_more(usd, rates, usage.details, every_input)


def _with_more(usd: float, rates: _Rates, details: UsageDetails, every_input: int) -> Cost:
    """``usd``, the cost of the four counts, with what their parts cost more or less, and what there is beside them."""
    notes = list(rates.notes)
    if details.inference_geo:
        notes.append(CostNote.INFERENCE_GEO)
    for count, rate, usual, note in (
        (details.cache_creation_1h_tokens, rates.cache_write_1h, rates.cache_write, CostNote.CACHE_1H),
        (details.input_audio_tokens, rates.input_audio, rates.input, CostNote.AUDIO),
        (details.input_image_tokens, rates.input_image, rates.input, CostNote.IMAGE),
        (details.input_video_tokens, rates.input_video, rates.input, CostNote.VIDEO),
        (details.cache_read_audio_tokens, rates.cache_read_audio, rates.cache_read, CostNote.AUDIO),
        (details.output_audio_tokens, rates.output_audio, rates.output, CostNote.AUDIO),
        (details.output_image_tokens, rates.output_image, rates.output, CostNote.IMAGE),
        (details.output_video_tokens, rates.output_video, rates.output, CostNote.VIDEO),
    ):
        if count and rate is None:
            notes.append(note)
        elif count and rate is not None:
            usd += count * (rate.at(every_input) - usual.at(every_input)) / _MTOK
    if details.web_searches and rates.web_search is None:
        notes.append(CostNote.WEB_SEARCH)
    elif details.web_searches and rates.web_search is not None:
        usd += details.web_searches * rates.web_search.at(every_input) / _KCOUNT
    if details.grounded_answers:
        notes.append(CostNote.GROUNDING)
    if details.server_side_requests:
        notes.append(CostNote.SERVER_SIDE)
    return Cost(usd, ",".join(dict.fromkeys(notes)))


@lru_cache(maxsize=512)  # clients name the models, so what is remembered has a bound
def _rates(names: tuple[tuple[str, str], ...], day: int, tier: str, speed: str) -> _Rates | None:
    """The rates of one day for what was served in such a way, or None for what no list knows."""
    lists = get_snapshot()
    for list_name, model in names:
        # Not find_provider_model: it keeps every name it ever matched, and it matches by prefix.
        listing = lists.find_provider(None, list_name, None)
        found = listing.find_model(model, all_providers=lists.providers)
        if found is not None:
            break
    else:
        return None
    moment = _EPOCH + timedelta(days=day)
    context: dict[str, str] = {}
    notes = []
    share = 1.0
    # The lists' rule: variants are those of the list itself, not of one whose models it has too.
    is_own = any(found is model for model in listing.models)
    for (key, value), note in (
        (_OWN_CONTEXT.get(tier, ("service_tier", tier)), CostNote.SERVICE_TIER),
        (("speed", speed), CostNote.SPEED),
    ):
        if value and is_own and _has_variant(found, {key: value}, moment):
            context[key] = value
        elif key == "processing":
            share = _SHARE_OF_BATCH
        elif value:
            notes.append(note)
    prices = found.get_prices(moment, context)
    for_input = _rate(prices.input_mtok, share) or _Rate(0.0)
    for_output = _rate(prices.output_mtok, share) or _Rate(0.0)
    for_read = _rate(prices.cache_read_mtok, share) or for_input
    return _Rates(
        for_input,
        for_output,
        # The list's rule for all of these: without a price of its own, a part has that of what it is a part of.
        cache_write=_rate(prices.cache_write_mtok, share) or for_input,
        cache_read=for_read,
        cache_write_1h=_rate(prices.cache_write_1h_mtok, share),
        input_audio=_rate(prices.input_audio_mtok, share) or for_input,
        input_image=_rate(prices.input_image_mtok, share) or for_input,
        input_video=_rate(prices.input_video_mtok, share) or for_input,
        cache_read_audio=_rate(prices.cache_audio_read_mtok, share) or for_read,
        output_audio=_rate(prices.output_audio_mtok, share),
        output_image=_rate(prices.output_image_mtok, share),
        output_video=_rate(prices.output_video_mtok, share),
        web_search=_rate(prices.web_searches_kcount),
        notes=tuple(notes),
    )


def _has_variant(model: ModelInfo, context: dict[str, str], moment: datetime) -> bool:
    """Whether ``model`` has other prices for what was served so."""
    return any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(moment))
        for variant in model.price_variants or ()
    )


def _rate(price: Decimal | TieredPrices | None, share: float = 1.0) -> _Rate | None:
    if price is None:
        return None
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return _Rate(float(price) * share)  # type: ignore[arg-type]  # a Decimal, having no tiers
    highest_first = tuple((tier.start, float(tier.price) * share) for tier in reversed(tiers))
    return _Rate(float(price.base) * share, highest_first)  # type: ignore[union-attr]  # it has tiers
