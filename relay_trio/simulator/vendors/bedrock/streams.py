"""What faults need to know of Bedrock's two stream formats: their errors, what breaks them, a large event."""

from __future__ import annotations

import json
from typing import Any

from relay_trio.simulator.faults import SpecError
from relay_trio.simulator.script import Frame, frame
from relay_trio.simulator.vendors.bedrock import event_frames, events

INVOKE_EXCEPTIONS = frozenset(
    {
        "internalServerException",
        "modelStreamErrorException",
        "modelTimeoutException",
        "serviceUnavailableException",
        "throttlingException",
        "validationException",
    }
)
CONVERSE_EXCEPTIONS = INVOKE_EXCEPTIONS - {"modelTimeoutException"}
"""A client of Converse does not know that one: boto3 raises an error without a code."""

_OWN = ("bad_json", "bad_utf8", "no_payload", "bad_base64", "no_bytes")
MALFORMED = (*_OWN, *event_frames.ODD, *event_frames.BROKEN)
"""Kinds for ``malformed``. All at once: those that leave the frames sound come first."""


class InvokeStream:
    """The stream of an invocation: chunks of the model's own events. Also what answers without a stream use."""

    exceptions = INVOKE_EXCEPTIONS
    event = "chunk"

    def error_event(self, kind: str) -> Frame:
        """See ``effects.Dialect``; a name that is not some ``...Exception`` is the code of an unmodelled error.

        Raises:
            SpecError: clients of this stream know no exception of that name.
        """
        kind = kind or "modelStreamErrorException"
        if not kind.endswith("Exception"):
            return frame(event_frames.error(kind, "An internal server error occurred (simulated)"))
        if kind not in self.exceptions:
            raise SpecError(f"error_event:N/{kind} is none of {', '.join(sorted(self.exceptions))}")
        document: dict[str, Any] = {"message": f"{kind} (simulated)"}
        if kind == "modelStreamErrorException":
            document |= {"originalStatusCode": 529, "originalMessage": "Overloaded"}
        return frame(event_frames.exception(kind, json.dumps(document).encode()))

    def malformed(self, kind: str) -> Frame:
        """See ``effects.Dialect``.

        Raises:
            SpecError: ``kind`` is not in ``MALFORMED``.
        """
        own = {
            "bad_json": b"{not json",
            "bad_utf8": b'{"bytes":"\xff\xfe"}',
            "no_payload": b"",
            "bad_base64": b'{"bytes":"%%%"}',
            "no_bytes": b"{}",
        }
        kinds = {name: event_frames.event(self.event, payload) for name, payload in own.items()}
        kinds |= event_frames.ODD | event_frames.BROKEN
        if kind and kind not in kinds:
            raise SpecError(f"malformed:{kind} is none of {', '.join(kinds)}")
        return frame(kinds[kind] if kind else b"".join(kinds.values()))

    def huge_event(self, size: int) -> Frame:
        """See ``effects.Dialect``; base64 makes it a third larger."""
        delta = {"type": "text_delta", "text": "h" * size}
        return frame(events.chunk({"type": "content_block_delta", "index": 0, "delta": delta}))


class ConverseStream(InvokeStream):
    """The stream of a conversation: Bedrock's own events."""

    exceptions = CONVERSE_EXCEPTIONS
    event = "contentBlockDelta"

    def huge_event(self, size: int) -> Frame:
        """See ``effects.Dialect``."""
        document = {"contentBlockIndex": 0, "delta": {"text": "h" * size}}
        return frame(events.converse_event("contentBlockDelta", document))
