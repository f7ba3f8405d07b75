"""What the events of Claude's streams say: usage, end and errors.

The same events come as server-sent events from Anthropic's API, and in the chunks of Bedrock's AWS event streams. The
fold over them is the one place that knows what they mean.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from relay_trio.api.answer_reader import Ending
from relay_trio.api.metering import NOTHING
from relay_trio.api.verdict import NamesInAnswers
from relay_trio.api.whole_reader import WholeReader
from relay_trio.usage import UsageSource
from relay_trio.vendors.claude.usage import ClaudeUsage
from relay_trio.wire.sse import parse_block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats

_CONTENT = b'"type":"content_block_'
"""The type of events that hold a part of the content, as the API writes it. With a space in it the event is held."""

_NAMES = NamesInAnswers(
    limited=frozenset({"overloaded_error", "rate_limit_error"}),
    refused=frozenset({"authentication_error", "billing_error", "permission_error"}),
    rejected=frozenset({"invalid_request_error", "not_found_error", "request_too_large"}),
)


class ClaudeFold:
    """What the events of one stream add up to: ``message_start``, then each ``message_delta``, field by field.

    An event is parsed only where it can hold usage, an error or the end; deltas of text cost one search each.
    """

    def __init__(self, known: Mapping[str, int | str] = NOTHING) -> None:
        """``known``: what the answer's head says of its usage."""
        self.error: UpstreamError | None = None
        self.ending = Ending.OPEN
        self.has_begun = False
        self._usage = ClaudeUsage(known=known)
        self._has_final_usage = False

    @staticmethod
    def is_worth_a_look(event: bytes) -> bool:
        """Whether an event, not yet parsed, can hold usage, an error or the end."""
        return b'"message_' in event or b'"error"' in event

    def observe_block(self, block: bytes) -> None:
        """Fold in one event, as the lines of a server-sent event."""
        if b'"message_' in block or b'"error"' in block:  # is_worth_a_look, without a call for every event
            event = parse_block(block)
            if event is not None:
                self.observe(event.data)

    @staticmethod
    def is_needed(beginning: bytes) -> bool:
        """Whether the type of a large event is not one of those that have no usage: a part of a message's content."""
        return _CONTENT not in beginning

    def observe_tail(self, tail: bytes) -> None:
        """Fold in the usage of an event that lacks its blank line."""
        if b'"message_delta"' in tail or b'"message_start"' in tail:
            self.observe_block(tail)

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
            self.ending = Ending.FINAL
        elif kind == "error":
            self.error = _reported_error(data.get("error"))
            self.ending = Ending.DUE

    def spoil(self) -> None:
        """An event could not be read: the usage is unknown."""
        self._usage.spoil()

    def is_complete_with(self, tail: bytes) -> bool:
        """Whether ``message_stop`` was seen, which may lack its blank line; or an error."""
        if self.ending is Ending.OPEN and b'"message_stop"' in tail:
            event = parse_block(tail)
            return event is not None and _type_of(event.data) == "message_stop"
        return self.ending is not Ending.OPEN

    def stats(self) -> UsageStats:
        """The usage so far."""
        return self._usage.stats(UsageSource.EXACT if self._has_final_usage else UsageSource.PARTIAL)


def _type_of(event: str) -> object:
    try:
        data = json.loads(event)
    except (ValueError, RecursionError):
        return None
    return data.get("type") if isinstance(data, dict) else None


def _reported_error(error: object) -> UpstreamError:
    return _NAMES.error(error.get("type") if isinstance(error, dict) else None)


def error_of_document(document: dict[str, Any]) -> UpstreamError | None:
    """The error that a document is which came with status 200; None where it is an answer."""
    return _reported_error(document.get("error")) if document.get("type") == "error" else None


new_message_reader = partial(WholeReader, "usage", ClaudeUsage, error_of_document)
"""Makes the reader of a whole message, which is no stream."""

new_document_reader = partial(WholeReader, "", None, error_of_document)
"""Makes the reader of a document without tokens."""
