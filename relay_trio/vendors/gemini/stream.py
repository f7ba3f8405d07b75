"""What Gemini's answers say: usage, end and errors, as server-sent events, as a JSON array, or as one document.

- ``usageMetadata`` is a running snapshot: the last one with a total replaces all earlier ones. Its figures may fall,
  and parts of it may go missing. Thinking is not in ``candidatesTokenCount``; the cache is in ``promptTokenCount``.
  Without a total, or with one that contradicts the parts, these are added up, and the record is an estimate.
- There is no last event: an answer has ended when every candidate has its finish reason, when the prompt was blocked,
  or when there is a usage and never was a candidate.
- An error in the middle of a stream comes as lines of JSON without ``data:``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from relay_trio.api.answer_reader import Ending
from relay_trio.api.position import Form, Position
from relay_trio.api.verdict import NamesInAnswers
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from relay_trio.vendors.gemini.usage import GeminiUsage
from relay_trio.wire.json_array import JsonArrayElements
from relay_trio.wire.sse import parse_block
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from relay_trio.errors import UpstreamError

_TOTAL = b'"totalTokenCount"'
_ANY_COUNT = b'TokenCount"'
_MEMBERS_TO_PARSE = (b'"finishReason"', b'"blockReason"', b'"error"', b'"functionCall"')
"""An event without these members holds only text and usage, so it need not be parsed unless it is the last one. (Text
escapes its quotes. The arguments of a function call do not, hence the fourth: they may hold any of the others.)"""

_FIRST_CANDIDATE = (b'"index": 0', b'"index":0')

_NAMES = NamesInAnswers(
    limited=frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"}),
    refused=frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "FAILED_PRECONDITION"}),
    rejected=frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE"}),
)


class GeminiFold:
    """What the events of one stream add up to.

    An event that holds only text and usage is kept until a newer one replaces it, and is parsed only if none does:
    nearly every event has a usage, and only the last one counts.
    """

    def __init__(self) -> None:
        self._error: UpstreamError | None = None
        self._kept: bytes | None = None
        self._is_ending = False
        self._usage = GeminiUsage()
        self._open: dict[object, bool] = {}  # by the candidate's index: whether its newest event was not its last
        self._is_blocked = False
        self._has_usage = False
        self._has_final_usage = False
        self._is_unsure = False

    @property
    def error(self) -> UpstreamError | None:
        """The error that an event reported."""
        return self._error  # an event with one is never kept

    @property
    def ending(self) -> Ending:
        """Due when every candidate has finished: there is no last event, and one with the usage may follow."""
        if self._error is not None:
            return Ending.DUE
        return Ending.DUE if self._is_ending and self.is_finished else Ending.OPEN

    @property
    def is_finished(self) -> bool:
        """Whether every candidate has finished, or there is none, or the end may have been in a lost event."""
        self._parse_kept()
        if self._is_blocked or self._is_unsure:
            return True
        return not any(self._open.values()) if self._open else self._has_usage

    def observe_block(self, block: bytes) -> None:
        """Fold in one event, as the lines of a server-sent event."""
        self.observe(_json_of(block))

    @staticmethod
    def is_needed(beginning: bytes) -> bool:
        """Every event: one with an image has the usage behind it."""
        return True

    def observe_tail(self, tail: bytes) -> None:
        """Fold in an event that lacks nothing but its blank line, as in Google's own examples. Seeing the same event
        twice, unfinished and finished, changes nothing."""
        if tail and _is_whole(tail):
            self.observe(_json_of(tail))

    def observe(self, event: bytes) -> None:
        """Fold in one ``GenerateContentResponse``, or an error, as JSON."""
        if not self._is_ending and _is_plain(event):
            if _TOTAL in event:
                self._kept = event
                return
            if _ANY_COUNT not in event:
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
        if self._usage.overwrite(data.get("usageMetadata"), data):
            self._is_unsure = False
            self._has_usage = True
            self._has_final_usage = self.is_finished

    def spoil(self) -> None:
        """An event was too large to be read: it may have held the last usage, and the end."""
        self._parse_kept()
        self._usage.spoil()
        self._is_unsure = True

    def is_complete_with(self, tail: bytes) -> bool:
        """Whether the answer has finished, or failed with an error, and the stream does not end inside an event."""
        self.observe_tail(tail)
        return self._error is not None or (self.is_finished and (not tail or _is_whole(tail)))

    def stats(self) -> UsageStats:
        """The usage so far."""
        self._parse_kept()
        is_exact = self._has_final_usage and self._error is None
        return self._usage.stats(UsageSource.EXACT if is_exact else UsageSource.PARTIAL)


def _is_plain(event: bytes) -> bool:
    """Whether an event holds only text of the first candidate, and usage."""
    for member in _MEMBERS_TO_PARSE:
        if member in event:
            return False
    candidates = event.count(b'"index"')
    return not candidates or (candidates == 1 and any(first in event for first in _FIRST_CANDIDATE))


def _is_reason(reason: object) -> bool:
    """Whether ``reason`` names one. Reasons are names, or numbers where the client chose those; the first of either
    kind stands for no reason."""
    return bool(reason) and not str(reason).endswith("_UNSPECIFIED")


def _json_of(block: bytes) -> bytes:
    """The JSON in one block: the data of its event, or the block itself, which is then an error's lines."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    event = parse_block(block)
    return block if event is None else event.data.encode()


def _is_whole(tail: bytes) -> bool:
    """Whether ``tail`` is an event that lacks only its blank line."""
    try:
        json.loads(_json_of(tail))
    except (ValueError, RecursionError):
        return False
    return True


class ArrayReader:
    """Reads a stream that is one JSON array, which ends with its bracket, and alters nothing."""

    is_error_forwarded = True

    def __init__(self) -> None:
        self.has_substance = False
        self._elements = JsonArrayElements()
        self._oversized = 0
        self._fold = GeminiFold()

    @property
    def error(self) -> UpstreamError | None:
        """The error that an element reports."""
        return self._fold.error

    @property
    def has_begun(self) -> bool:
        """Whether an element was read, or the beginning of one."""
        return self.has_substance or self._elements.is_mid_element or self._elements.damage is not None

    @property
    def ending(self) -> Ending:
        """Final at the bracket; due after an error, which the bracket may follow."""
        if self._elements.is_complete:
            return Ending.FINAL
        return Ending.OPEN if self._fold.error is None else Ending.DUE

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
            if not self.has_substance:
                self.has_substance = self._fold.error is None
        if self._elements.oversized != self._oversized:
            self._oversized = self._elements.oversized
            self.has_substance = True
            self._fold.spoil()
        return data

    def finish(self) -> UsageStats:
        """The usage in the elements so far; unknown where the array is damaged."""
        return NO_USAGE if self._elements.damage is not None else self._fold.stats()


def _reported_error(error: object) -> UpstreamError:
    return _NAMES.error(error.get("status") if isinstance(error, dict) else None)


def error_of_document(document: dict[str, Any]) -> UpstreamError | None:
    """The error that a document is which came with status 200; None where it is an answer."""
    is_error = "error" in document and "candidates" not in document
    return _reported_error(document["error"]) if is_error else None
