"""``usageMetadata`` of Gemini's answers: a sum, its parts, and what a price depends on beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.metering import NOTHING, count_of, details_of, word_of
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Mapping

_COUNTS = (
    "totalTokenCount",
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
)

_MODALITIES = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
"""What is not text, as ``UsageStats`` names it. Google counts and bills the pages of a document as images."""


class GeminiUsage:
    """Folds ``usageMetadata``, a sum and its parts: the last usable one is the record."""

    def __init__(self, *, needs_total: bool = True) -> None:
        """``needs_total``: a ``usageMetadata`` without a total is an estimate. That of embeddings never has one."""
        self._needs_total = needs_total
        self._counts: tuple[int, int, int] | None = None
        self._details: dict[str, int] = {}
        self._tier = ""
        self._is_grounded = False
        self._is_estimated = False
        self._is_sound = True

    def overwrite(self, usage: object, beside: Mapping[str, Any] = NOTHING) -> bool:
        """Fold in one ``usageMetadata``, as parsed from JSON. Returns whether it was one.

        One without a total does not replace one with a total, and one of zeros replaces none that counted something.
        """
        self._is_grounded = self._is_grounded or _is_grounded(beside)
        if not isinstance(usage, dict):
            return False
        self._tier = _tier(usage) or self._tier
        figures = [usage.get(name) for name in _COUNTS]
        if all(figure is None for figure in figures):
            return False
        lacks_total = figures[0] is None and self._needs_total
        if lacks_total and self._counts is not None and not self._is_estimated:
            return False
        counts, is_consistent = _counts_of(figures)
        if any(counts) or (self._counts is None and is_consistent):
            self._counts = counts
            self._details = _details(usage, counts)
            self._is_estimated = lacks_total or not is_consistent
            self._is_sound = True
        elif not is_consistent:
            self._is_estimated = True  # the earlier record is out of date, and better than none
        return True

    def spoil(self) -> None:
        """A later record could not be read."""
        self._is_sound = False

    def stats(self, source: UsageSource) -> UsageStats:
        """The record, or ``NO_USAGE`` when nothing usable was seen."""
        if self._counts is None or not self._is_sound:
            return NO_USAGE
        if self._is_estimated and source is UsageSource.EXACT:
            source = UsageSource.ESTIMATED
        uncached, output, cached = self._counts
        beside = {"grounded_answers": int(self._is_grounded), "service_tier": self._tier}
        return UsageStats(uncached, output, 0, cached, source, details_of(self._details | beside))


def _counts_of(figures: list[object]) -> tuple[tuple[int, int, int], bool]:
    """The counts of uncached input, output and cached input in ``figures``, which are those of ``_COUNTS``; and whether
    the figures agree. The total decides how much output there was, because parts go missing; unless it cannot be true.
    """
    counts = [0 if figure is None else count_of(figure) for figure in figures]
    total, prompt, tools, cached, candidates, thoughts = (count or 0 for count in counts)
    prompt += tools
    is_total_possible = None not in counts[:3] and prompt <= total
    output = total - prompt if is_total_possible and figures[0] is not None else candidates + thoughts
    is_consistent = None not in counts and cached <= prompt and (is_total_possible or figures[0] is None)
    cached = min(cached, prompt)
    return (prompt - cached, output, cached), is_consistent


def _tier(usage: dict[str, Any]) -> str:
    """How the request was served: ``serviceTier`` of the Gemini API, ``trafficType`` of Vertex AI."""
    word = word_of(usage.get("serviceTier")) or word_of(usage.get("trafficType")) or ""
    return word.removeprefix("on_demand_").removeprefix("service_tier_")


def _details(usage: dict[str, Any], counts: tuple[int, int, int]) -> dict[str, int]:
    """What of the counts is not text. Of the input, what was read of the cache is in both lists of Google's."""
    prompt = _by_modality(usage.get("promptTokensDetails"))
    for modality, count in _by_modality(usage.get("toolUsePromptTokensDetails")).items():
        prompt[modality] = prompt.get(modality, 0) + count
    cached = _by_modality(usage.get("cacheTokensDetails"))
    output = _by_modality(usage.get("candidatesTokensDetails"))
    uncached = {modality: max(0, count - cached.get(modality, 0)) for modality, count in prompt.items()}
    found = {f"input_{modality}_tokens": count for modality, count in _within(uncached, counts[0]).items()}
    found |= {f"output_{modality}_tokens": count for modality, count in _within(output, counts[1]).items()}
    audio = _within(cached, counts[2]).get("audio", 0)
    return found | {"cache_read_audio_tokens": audio} if audio else found


def _by_modality(details: object) -> dict[str, int]:
    found: dict[str, int] = {}
    for detail in details if isinstance(details, list) else ():
        modality = _MODALITIES.get(str(detail.get("modality"))) if isinstance(detail, dict) else None
        if modality is not None:
            found[modality] = found.get(modality, 0) + (count_of(detail.get("tokenCount")) or 0)
    return found


def _within(parts: dict[str, int], whole: int) -> dict[str, int]:
    """``parts``, if they can be parts of ``whole``."""
    return {name: count for name, count in parts.items() if count} if sum(parts.values()) <= whole else {}


def _is_grounded(answer: Mapping[str, Any]) -> bool:
    """Whether Google looked something up for the answer, which it bills by prompt or by query: in the web, or in maps.
    What the client names itself (files, an index of its own) costs no more than its tokens. In a stream this stands in
    the event with the finish reason, as recorded."""
    candidates = answer.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        found = candidate.get("groundingMetadata") if isinstance(candidate, dict) else None
        if isinstance(found, dict):
            chunks = found.get("groundingChunks")
            is_of_maps = isinstance(chunks, list) and any(
                isinstance(chunk, dict) and "maps" in chunk for chunk in chunks
            )
            if found.get("webSearchQueries") or is_of_maps:
                return True
    return False
