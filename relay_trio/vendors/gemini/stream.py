"""Usage, end and errors of Gemini's answers: server-sent events, one JSON array that grows, or one document.

``usageMetadata`` is a running snapshot, so the last one with a total replaces whatever was said before; it is not
monotone, and parts may go missing in it. Thinking is outside of ``candidatesTokenCount``, the cache inside of
``promptTokenCount``. There is no last event: an answer has ended when every candidate gave its finish reason, or when
the prompt was blocked. Errors in mid-stream come as lines of JSON without ``data:``.
"""

from __future__ import annotations

import json
from typing import Any

from relay_trio.api.metering import LARGEST_COUNT
from relay_trio.api.position import Form, Position
from relay_trio.errors import UpstreamError, UpstreamErrorEvent, UpstreamRateLimited
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from relay_trio.wire.json_array import MAX_ELEMENT_BYTES, JsonArrayElements
from relay_trio.wire.sse import parse_block
from relay_trio.wire.wire_error import WireError

_COUNTS = (
    "totalTokenCount",
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
)

_TOTAL = b'"totalTokenCount"'
_TELLING = (b'"finishReason"', b'"blockReason"', b'"error"', b'"functionCall"')
"""An event with none of these says nothing but words and usage. Inside of words the quotes would be escaped; what a
function is called with is JSON of the model's own making, which may hold any of it."""

_FIRST_CANDIDATE = (b'"index": 0', b'"index":0')

_LIMITED = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})


class GeminiUsage:
    """The last usable ``usageMetadata``; ``metering.UsageFold`` for a provider that tells a sum and its parts."""

    def __init__(self, *, needs_total: bool = True) -> None:
        """``needs_total``: a record without a total is not one. Whole answers about embeddings have none."""
        self._needs_total = needs_total
        self._counts: tuple[int, int, int] | None = None
        self._is_sound = True

    def overwrite(self, usage: object) -> bool:
        """Take one ``usageMetadata`` as parsed from JSON; whether it was one."""
        if not isinstance(usage, dict) or (self._needs_total and usage.get("totalTokenCount") is None):
            return False
        counts = [usage.get(name) for name in _COUNTS]
        if all(count is None for count in counts):
            return False
        self._counts, self._is_sound = None, False
        if not all(count is None or _is_count(count) for count in counts):
            return True
        total, prompt, tools, cached, candidates, thoughts = (count or 0 for count in counts)
        if counts[0] is None:
            total = prompt + tools + candidates + thoughts
        put_in = prompt + tools
        if cached <= put_in <= total:
            self._counts, self._is_sound = (put_in - cached, total - put_in, cached), True
        return True

    def spoil(self) -> None:
        """A later record could not be read."""
        self._is_sound = False

    def stats(self, source: UsageSource) -> UsageStats:
        """The record, or ``NO_USAGE`` when nothing usable was seen."""
        if self._counts is None or not self._is_sound:
            return NO_USAGE
        put_in, put_out, cached = self._counts
        return UsageStats(input_tokens=put_in, output_tokens=put_out, cache_read_tokens=cached, source=source)


def _is_count(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= LARGEST_COUNT


class GeminiFold:
    """What the events of one stream say.

    An event that is only words and usage is kept until a newer one replaces it, and parsed if none does: nearly every
    event has a usage, and only the last one counts.
    """

    max_block_bytes = MAX_ELEMENT_BYTES

    def __init__(self) -> None:
        self._error: UpstreamError | None = None
        self._kept: bytes | None = None
        self._is_ending = False
        self._usage = GeminiUsage()
        self._open: dict[object, bool] = {}  # candidates by index: whether the newest word of each was not its last
        self._is_blocked = False
        self._has_final_usage = False
        self._is_unsure = False

    @property
    def error(self) -> UpstreamError | None:
        """The error that was told."""
        return self._error  # an event with one is never kept

    @property
    def is_finished(self) -> bool:
        """Whether every candidate has finished, or there will be none, or the end may have been in what was dropped."""
        self._parse_kept()
        return self._is_blocked or self._is_unsure or (bool(self._open) and not any(self._open.values()))

    def observe_block(self, block: bytes) -> None:
        """Fold in one event, as the lines of a server-sent event."""
        self.observe(_json_of(block))

    def observe_tail(self, tail: bytes) -> None:
        """Fold in an event that lacks nothing but its blank line, as in Google's own examples. Seeing the same event
        twice, unfinished and finished, changes nothing."""
        if tail and _is_whole(tail):
            self.observe(_json_of(tail))

    def observe(self, event: bytes) -> None:
        """Take one ``GenerateContentResponse``, or an error, as JSON."""
        if not self._is_ending and _is_plain(event):
            if _TOTAL in event:
                self._kept = event
            return
        self._parse_kept()
        self._parse(event)

    def _parse_kept(self) -> None:
        event, self._kept = self._kept, None
        if event is not None:
            self._parse(event)

    def _parse(self, event: bytes) -> None:
        try:
            data = json.loads(event)
        except (ValueError, RecursionError):
            return
        if not isinstance(data, dict):
            return
        if "error" in data and "candidates" not in data:
            self._error = self._error or _reported_error(data["error"])
            return
        candidates = data.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict):
                index = candidate.get("index")
                has_finished = _is_reason(candidate.get("finishReason"))
                self._is_ending = self._is_ending or has_finished
                self._open[index if isinstance(index, int) else 0] = not has_finished
        feedback = data.get("promptFeedback")
        if isinstance(feedback, dict) and _is_reason(feedback.get("blockReason")):
            self._is_blocked = self._is_ending = True
        if self._usage.overwrite(data.get("usageMetadata")):
            self._is_unsure = False
            self._has_final_usage = self.is_finished

    def spoil(self) -> None:
        """An event was too large to be read: its usage may have been the last, and its end the end."""
        self._parse_kept()
        self._usage.spoil()
        self._is_unsure = True

    def is_complete_with(self, tail: bytes) -> bool:
        """Whether the answer has finished, or failed with an error, and the stream does not end inside an event."""
        self.observe_tail(tail)
        return self._error is not None or (self.is_finished and (not tail or _is_whole(tail)))

    def stats(self) -> UsageStats:
        """The record so far."""
        self._parse_kept()
        is_exact = self._has_final_usage and self._error is None
        return self._usage.stats(UsageSource.EXACT if is_exact else UsageSource.PARTIAL)


def _is_plain(event: bytes) -> bool:
    """Whether an event has at most words of the first candidate, and usage."""
    for word in _TELLING:
        if word in event:
            return False
    candidates = event.count(b'"index"')
    return not candidates or (candidates == 1 and any(first in event for first in _FIRST_CANDIDATE))


def _is_reason(reason: object) -> bool:
    """Names, or numbers where the client asked for those; the first of both says that there is none."""
    return bool(reason) and not str(reason).endswith("_UNSPECIFIED")


def _json_of(block: bytes) -> bytes:
    """The data of one block; an error's lines are their own."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    event = parse_block(block)
    return block if event is None else event.data.encode()


def _is_whole(tail: bytes) -> bool:
    """Whether an event that lacks nothing but its empty line."""
    try:
        json.loads(_json_of(tail))
    except (ValueError, RecursionError):
        return False
    return True


class ArrayReader:
    """Reads a stream that is one JSON array, which ends with its bracket, and alters nothing."""

    is_error_forwarded = True

    def __init__(self) -> None:
        self._elements = JsonArrayElements()
        self._oversized = 0
        self._fold = GeminiFold()

    @property
    def error(self) -> UpstreamError | None:
        """The error that an element reports."""
        return self._fold.error

    @property
    def is_complete(self) -> bool:
        """Whether the bracket was seen, or an error."""
        return self._elements.is_complete or self.error is not None

    @property
    def position(self) -> Position:
        """Where one more element could stand."""
        elements = self._elements
        return Position(Form.ARRAY, elements.is_mid_element, elements.joint)

    def feed(self, data: bytes) -> bytes:
        """``data`` as it came."""
        try:
            elements = self._elements.feed(data) if self._elements.damage is None else []
        except WireError:
            elements = []
        for element in elements:
            self._fold.observe(element)
        if self._elements.oversized != self._oversized:
            self._oversized = self._elements.oversized
            self._fold.spoil()
        return data

    def finish(self) -> UsageStats:
        """The usage in the elements so far; unknown where the array is damaged."""
        return NO_USAGE if self._elements.damage is not None else self._fold.stats()


def _reported_error(error: Any) -> UpstreamError:
    status = error.get("status") if isinstance(error, dict) else None
    if isinstance(status, str) and status in _LIMITED:
        return UpstreamRateLimited(f"the upstream reported {status} inside its stream")
    return UpstreamErrorEvent("the upstream reported an error inside its stream")
