"""The results of a message batch: lines of JSON, one for each request of the batch, with a usage of its own.

A batch is paid for when it runs, which the relay does not see; it is booked when its results pass through. Lines of one
model are added up, but not those on different sides of a price step, which depends on the input of each answer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

from relay_trio.api.answer_reader import NullReader
from relay_trio.usage import NO_USAGE, UsageDetails, UsagePart, UsageSource, UsageStats
from relay_trio.vendors.claude.usage import ClaudeUsage
from relay_trio.wire.long_runs import MAX_BYTES

_RESULTS = re.compile(rb"/v1/messages/batches/([A-Za-z0-9_-]{1,128})/results")
_STEP_TOKENS = 1000
"""Price steps are at multiples of it."""

_COUNTS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
_DETAILS = ("cache_creation_1h_tokens", "web_searches", "server_side_requests")
_WORDS = ("service_tier", "speed", "inference_geo")

_Sums = dict[tuple[str, int, tuple[str, ...]], Counter[str]]
"""By model, input and words: what is priced alike."""


def batch_of(raw_path: bytes) -> str | None:
    """The id of the batch whose results ``raw_path`` is for; None for every other path."""
    match = _RESULTS.fullmatch(raw_path)
    return None if match is None else match[1].decode()


class BatchResults(NullReader):
    """Reads the results of one batch, and alters nothing. That the body has ended is for the caller to know."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(may_be_empty=False)
        self._batch_id = batch_id
        self._line = bytearray()
        self._searched = 0
        self._is_sound = True
        self._sums: _Sums = {}

    def feed(self, data: bytes) -> bytes:
        """``data`` as it came."""
        super().feed(data)
        line = self._line
        line += data
        start = 0
        while (end := line.find(b"\n", max(start, self._searched))) >= 0:
            self._is_sound &= _add(bytes(line[start:end]), self._sums)
            start = end + 1
            self._searched = 0
        del line[:start]
        self._searched = len(line)
        if len(line) > MAX_BYTES:
            self._is_sound = False
            line.clear()
            self._searched = 0
        return data

    def finish(self) -> UsageStats:
        """The sum of all lines; unknown where one of them could not be read."""
        sums = {key: counts.copy() for key, counts in self._sums.items()}
        if not _add(bytes(self._line), sums) or not self._is_sound or not sums:
            return NO_USAGE
        parts = tuple(
            UsagePart(model, every_input, _stats(counts, dict(zip(_WORDS, words, strict=True))))
            for (model, every_input, words), counts in sums.items()
        )
        total = _stats(sum(sums.values(), Counter()), {"service_tier": "batch", "batch_id": self._batch_id})
        return replace(total, parts=parts)


def _add(line: bytes, sums: _Sums) -> bool:
    """Add the usage of one line to ``sums``; whether the line could be read. A request that failed, expired or was
    cancelled has none, and costs nothing."""
    if not line.strip():
        return True
    try:
        result = json.loads(line)["result"]
        if result["type"] != "succeeded":
            return True
        model, usage = str(result["message"]["model"]), result["message"]["usage"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return False
    fold = ClaudeUsage()
    fold.overwrite(usage)
    stats = fold.stats(UsageSource.EXACT)
    if stats is NO_USAGE:
        return False
    counts: Counter[str] = Counter({name: getattr(stats, name) for name in _COUNTS})
    counts.update({name: getattr(stats.details, name) for name in _DETAILS})
    every_input = stats.total_tokens - stats.output_tokens
    step = -(-every_input // _STEP_TOKENS) * _STEP_TOKENS
    words = ("batch", stats.details.speed, stats.details.inference_geo)
    sums.setdefault((model, step, words), Counter()).update(counts)
    return True


def _stats(counts: Counter[str], words: dict[str, str]) -> UsageStats:
    details: dict[str, Any] = {name: counts[name] for name in _DETAILS}
    four: dict[str, Any] = {name: counts[name] for name in _COUNTS}
    return UsageStats(source=UsageSource.EXACT, details=UsageDetails(**details | words), **four)
