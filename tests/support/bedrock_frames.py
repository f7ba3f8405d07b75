"""Event streams for tests, framed by the product's own encoder, which is tested against AWS's vectors."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from relay_trio.wire.event_stream import encode_frame

_JSON = {":content-type": "application/json"}


def _compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def event(kind: str, payload: object) -> bytes:
    """One event frame."""
    return encode_frame({":event-type": kind, **_JSON, ":message-type": "event"}, _compact(payload))


def chunk(data: object, *, padding: str = "abcdef") -> bytes:
    """One chunk of an invoke stream."""
    content = data if isinstance(data, bytes) else _compact(data)
    return event("chunk", {"bytes": b64encode(content).decode(), "p": padding})


def exception(kind: str, **payload: object) -> bytes:
    """One exception frame."""
    headers = {":exception-type": kind, **_JSON, ":message-type": "exception"}
    return encode_frame(headers, _compact({"message": "theirs", **payload}))


METRICS = {"inputTokenCount": 10, "outputTokenCount": 7, "invocationLatency": 9, "firstByteLatency": 3}
CLAUDE_EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 10, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 'say "message_stop" é'}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS},
)
CLAUDE = [chunk(data) for data in CLAUDE_EVENTS]
CONVERSE = [
    event("messageStart", {"role": "assistant", "p": "ab"}),
    event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "the metadata says"}, "p": "a"}),
    event("contentBlockStop", {"contentBlockIndex": 0}),
    event("messageStop", {"stopReason": "end_turn"}),
    event(
        "metadata",
        {
            "usage": {"inputTokens": 10, "outputTokens": 7, "totalTokens": 17},
            "metrics": {"latencyMs": 1},
        },
    ),
]
