"""What Bedrock's answers say of their usage: in ``usage`` of the Converse API, in metrics, and in their heads.

Bedrock counts every answer itself. It gives the figures beside those of the model: in headers where the answer is one
document, in ``amazon-bedrock-invocationMetrics`` at the end of a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.metering import CACHED_5M, NOTHING, UsageFold, count_of, word_of
from relay_trio.vendors.claude.usage import USAGE_FIELDS, ClaudeUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.http import ResponseHead

CONVERSE_FIELDS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheWriteInputTokens": "cache_creation_tokens",
    "cacheReadInputTokens": "cache_read_tokens",
}
"""Members of ``usage`` in the Converse API. It has each cache figure twice; those with ``Count`` in their names are
ignored."""

METRICS_FIELDS = {
    "inputTokenCount": "input_tokens",
    "outputTokenCount": "output_tokens",
    "cacheWriteInputTokenCount": "cache_creation_tokens",
    "cacheReadInputTokenCount": "cache_read_tokens",
}
"""Members of ``amazon-bedrock-invocationMetrics``, in the last chunk of a stream of any model."""

INVOKE_FIELDS = {
    **USAGE_FIELDS,
    **CONVERSE_FIELDS,
    "cacheWriteInputTokenCount": "cache_creation_tokens",
    "cacheReadInputTokenCount": "cache_read_tokens",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
}
"""Members of ``usage`` in whole answers, in the models' own formats: Claude's, Nova's, and those that follow OpenAI."""

_HEADERS = {
    b"x-amzn-bedrock-input-token-count": "input_tokens",
    b"x-amzn-bedrock-output-token-count": "output_tokens",
    b"x-amzn-bedrock-cache-write-input-token-count": "cache_creation_tokens",
    b"x-amzn-bedrock-cache-read-input-token-count": "cache_read_tokens",
}
_WORD_HEADERS = {
    b"x-amzn-bedrock-service-tier": "service_tier",
    b"x-amzn-bedrock-performanceconfig-latency": "speed",
}

BESIDE_USAGE = ("serviceTier", "performanceConfig")
"""Members of a Converse answer that its price depends on."""

_LIFETIMES = {"5m": CACHED_5M, "1h": "cache_creation_1h_tokens"}


def known_by(head: ResponseHead) -> dict[str, int | str]:
    """What an answer's head says of its usage, by the names of ``UsageStats``."""
    known: dict[str, int | str] = {}
    for name, value in head.headers:
        if name in _HEADERS:
            if value.isdigit() and (count := count_of(int(value[:20]))) is not None:
                known[_HEADERS[name]] = count
        elif name in _WORD_HEADERS and (word := word_of(value.decode("latin-1"))):
            known[_WORD_HEADERS[name]] = word
    return known


def invoke_usage(known: Mapping[str, int | str]) -> ClaudeUsage:
    """The fold of a whole answer in a model's own format; ``known`` is of its head."""
    return ClaudeUsage(INVOKE_FIELDS, known)


class ConverseUsage(UsageFold):
    """Folds ``usage`` of the Converse API, with what stands beside it."""

    def __init__(self, known: Mapping[str, int | str] = NOTHING) -> None:
        super().__init__(CONVERSE_FIELDS, known)

    def overwrite(self, usage: object, beside: Mapping[str, Any] = NOTHING) -> None:
        """Fold in one ``usage``. What stands deeper in it and cannot be read is left."""
        super().overwrite(usage, beside)
        for member, name, word in (("serviceTier", "type", "service_tier"), ("performanceConfig", "latency", "speed")):
            found = beside.get(member)
            if isinstance(found, dict):
                self.put_word(word, found.get(name))
        details = usage.get("cacheDetails") if isinstance(usage, dict) else None
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict) and detail.get("ttl") in _LIFETIMES:
                self.put(_LIFETIMES[detail["ttl"]], count_of(detail.get("inputTokens")) or 0)
