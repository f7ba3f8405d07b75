"""The token record of one answer, with one meaning for every vendor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UsageSource(StrEnum):
    """Where a token record comes from."""

    EXACT = "exact"  # the terminal usage was seen
    PARTIAL = "partial"  # cut short: what was last observed
    ESTIMATED = "estimated"  # added up by us: the upstream gave no total, or one that contradicts the parts
    NONE = "none"  # nothing usable was seen


@dataclass(frozen=True, slots=True)
class UsageDetails:
    """What the price of an answer depends on beside its four counts.

    Parts of these counts, which are in them already: ``cache_creation_1h_tokens`` of what was written to the cache, for
    an hour instead of five minutes; audio, image and video of the uncached input and of the output; audio of what was
    read from the cache.

    Beside tokens: ``web_searches``; ``grounded_answers``, which is 1 where Google's search or maps were used;
    ``server_side_requests``, the other things that an upstream did for the request and bills by figures that are not
    here. ``service_tier``, ``speed`` and ``inference_geo`` are the upstream's words for how the request was served,
    such as ``priority``, ``fast`` and ``us``; empty where it gave none, or the usual one. ``batch_id`` is that of a
    batch whose results these are.
    """

    cache_creation_1h_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    input_video_tokens: int = 0
    cache_read_audio_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    output_video_tokens: int = 0
    web_searches: int = 0
    grounded_answers: int = 0
    server_side_requests: int = 0
    service_tier: str = ""
    speed: str = ""
    inference_geo: str = ""
    batch_id: str = ""


NO_DETAILS = UsageDetails()


@dataclass(frozen=True, slots=True)
class UsageStats:
    """Tokens of one answer, with one meaning for every provider.

    ``input_tokens`` is uncached input only; ``output_tokens`` is everything generated, reasoning included. An explicit
    zero is a value: only ``source`` says that nothing was seen. ``details`` are ``NO_DETAILS`` for most answers.
    ``parts`` are what the record is the sum of, where it is one of many answers; they are priced, and not kept.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    source: UsageSource = UsageSource.NONE
    details: UsageDetails = NO_DETAILS
    parts: tuple[UsagePart, ...] = ()

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_creation_tokens + self.cache_read_tokens


NO_USAGE = UsageStats()


@dataclass(frozen=True, slots=True)
class UsagePart:
    """The sum of answers of one ``model``, whose prices are all those of an input of ``every_input`` tokens."""

    model: str
    every_input: int
    usage: UsageStats
