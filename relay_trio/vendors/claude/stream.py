"""Usage, end and errors of Claude's answers, in whatever they come: server-sent events, one JSON document, or the
chunks of an AWS event stream. The fold over events is the one place that knows what they mean.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.api.metering import Inflater, UsageFold
from relay_trio.api.position import Form
from relay_trio.errors import UpstreamError, UpstreamErrorEvent, UpstreamRateLimited
from relay_trio.usage import UsageSource, UsageStats
from relay_trio.wire.json_members import JsonLimitError, MemberScanner
from relay_trio.wire.sse import EventBlocks, parse_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay_trio.api.metering import Fold

USAGE_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_creation_input_tokens": "cache_creation_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
}

_SMALL_MESSAGE_BYTES = 64 * 1024
"""A whole message up to this size is parsed at once; a larger one is scanned as it passes, and never held."""


class EventFold:
    """What the events of one stream say: ``message_start``, then each ``message_delta``, field by field."""

    def __init__(self) -> None:
        self.error: UpstreamError | None = None
        self.has_stopped = False
        self.has_begun = False
        self._usage = UsageFold(USAGE_FIELDS)
        self._has_final_usage = False

    @staticmethod
    def is_worth_a_look(event: bytes) -> bool:
        """Whether an event, not yet parsed, can carry usage, an error or the end."""
        return b'"message_' in event or b'"error"' in event

    def observe(self, event: bytes | str) -> None:
        """Fold in one event, as JSON."""
        try:
            data = json.loads(event)
        except (ValueError, RecursionError):
            return
        if not isinstance(data, dict):
            return
        kind = data.get("type")
        if kind == "message_start":
            message = data.get("message")
            self.has_begun = True
            self._usage.overwrite(message.get("usage") if isinstance(message, dict) else None)
        elif kind == "message_delta":
            self._usage.overwrite(data.get("usage"))
            delta = data.get("delta")
            self._has_final_usage = isinstance(delta, dict) and delta.get("stop_reason") is not None
        elif kind == "message_stop":
            self.has_stopped = True
        elif kind == "error":
            self.error = _reported_error(data.get("error"))

    def spoil(self) -> None:
        """An event could not be looked at: the record is unusable."""
        self._usage.spoil()

    def stats(self) -> UsageStats:
        """The record so far."""
        return self._usage.stats(UsageSource.EXACT if self._has_final_usage else UsageSource.PARTIAL)


class StreamMeter:
    """Usage of a stream of server-sent events.

    A block is parsed only when it can carry usage, an error or the end; deltas of text cost one search each.
    """

    tells_its_error = True

    def __init__(self, inflater: Inflater | None = None) -> None:
        self.form = Form.EVENTS if inflater is None else Form.WHOLE
        self._blocks = EventBlocks()
        self._fold = EventFold()
        self._inflater = inflater

    @property
    def error(self) -> UpstreamError | None:
        return self._fold.error

    @property
    def is_complete(self) -> bool:
        """``message_stop`` was seen, or an error event, or the body is one that cannot be looked into."""
        if self._inflater is not None and not self._inflater.is_readable:
            return True
        return self._fold.has_stopped or self.error is not None

    @property
    def is_mid_event(self) -> bool:
        return self._blocks.is_mid_block

    def feed(self, data: bytes) -> bytes:
        plain = data if self._inflater is None else self._inflater.feed(data)
        for block in self._blocks.feed(plain):
            if EventFold.is_worth_a_look(block):
                self._observe(block)
        return data

    def finish(self) -> UsageStats:
        tail = self._blocks.tail
        if tail and b'"message_' in tail:
            self._observe(tail)  # an upstream may forget the blank line after its last event
        if self._blocks.oversized or (self._inflater is not None and not self._inflater.is_readable):
            self._fold.spoil()
        return self._fold.stats()

    def _observe(self, block: bytes) -> None:
        event = parse_block(block)
        if event is not None:
            self._fold.observe(event.data)


class MessageMeter:
    """Usage of a whole (non-streaming) answer: its ``usage`` member, wherever it stands."""

    form = Form.WHOLE
    tells_its_error = True
    is_complete = True
    is_mid_event = False
    error: UpstreamError | None = None

    def __init__(
        self,
        inflater: Inflater | None = None,
        fields: Mapping[str, str] = USAGE_FIELDS,
        *,
        member: str = "usage",
        new_fold: Callable[[], Fold] | None = None,
    ) -> None:
        """``fields``: names inside ``usage``, and those of ``UsageStats``. Where the member has another name, and is
        not read field by field, ``member`` and ``new_fold`` say so."""
        self._member = member
        self._new_fold = new_fold or (lambda: UsageFold(fields))
        self._small: bytearray | None = bytearray()  # the whole body, while it is small enough to be parsed at once
        self._scanner: MemberScanner | None = MemberScanner(frozenset({member}), max_depth=1024, max_tokens=None)
        self._inflater = inflater

    def feed(self, data: bytes) -> bytes:
        plain = data if self._inflater is None else self._inflater.feed(data)
        if self._small is None:
            self._scan(plain)
            return data
        self._small += plain
        if len(self._small) > _SMALL_MESSAGE_BYTES:
            self._scan(bytes(self._small))
            self._small = None
        return data

    def _scan(self, data: bytes) -> None:
        if self._scanner is None:
            return
        try:
            self._scanner.feed(data)
        except JsonLimitError:
            self._scanner = None

    def finish(self) -> UsageStats:
        fold = self._new_fold()
        if self._small is not None:
            try:
                message = json.loads(self._small)
            except (ValueError, RecursionError):
                self._scan(bytes(self._small))  # cut short: its usage may have come all the same
                self._small = None
            else:
                fold.overwrite(message.get(self._member) if isinstance(message, dict) else None)
                return fold.stats(UsageSource.EXACT)
        if self._scanner is None or self._member not in self._scanner.members:
            return fold.stats(UsageSource.NONE)
        try:
            fold.overwrite(json.loads(self._scanner.members[self._member]))
        except (ValueError, RecursionError):
            fold.spoil()
        return fold.stats(UsageSource.EXACT if self._scanner.is_whole else UsageSource.PARTIAL)


def _reported_error(error: object) -> UpstreamError:
    kind = error.get("type") if isinstance(error, dict) else None
    if kind in ("overloaded_error", "rate_limit_error"):
        return UpstreamRateLimited(f"the upstream reported {kind} inside its stream")
    return UpstreamErrorEvent("the upstream reported an error inside its stream")
