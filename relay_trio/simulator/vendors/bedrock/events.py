"""Bedrock's answers as bytes, made from Claude's: the same composition, event by event, in Amazon's envelopes.

Layout after recorded streams: an invocation's events are base64 in ``chunk`` frames and the last one adds the metrics;
Converse has events of its own and reports usage once, in ``metadata``. Both pad most payloads with ``p``; none pings.
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.script import Frame, Usage, frame
from relay_trio.simulator.vendors.bedrock import event_frames
from relay_trio.simulator.vendors.claude import events as claude_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.vendors.claude.events import Composition

_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_CACHED_DELTAS = 4096
METRICS = "amazon-bedrock-invocationMetrics"


# --- invoke -------------------------------------------------------------------------------------------------------


def invoke_frames(message_id: str, model: str, made: Composition, plan: Plan) -> Iterator[Frame]:
    """The chunks of one message, in order."""
    for piece in claude_events.stream_frames(message_id, model, made, plan):
        if piece.is_paced:
            yield _paced_chunk(piece)
        elif piece.is_last:
            document = claude_events.document_of(piece)
            counts = metrics(made, plan)
            if counts is not None:
                document[METRICS] = counts
            yield frame(chunk(document), usage=claude_events.reported(made.end, plan), is_last=True)
        elif piece is not claude_events.PING:
            yield frame(chunk(claude_events.document_of(piece)), usage=piece.usage)


def chunk(document: object) -> bytes:
    """One event of the model's own stream in a frame."""
    return event_frames.event("chunk", padded({"bytes": base64.b64encode(_json(document)).decode()}))


@lru_cache(maxsize=_CACHED_DELTAS)
def _paced_chunk(piece: Frame) -> Frame:
    return frame(chunk(claude_events.document_of(piece)), tokens=piece.tokens, is_paced=True)


def metrics(made: Composition, plan: Plan) -> dict[str, Any] | None:
    """The numbers of the usage once more, under Bedrock's names; None when usage is to be missing."""
    if plan.usage == "missing":
        return None
    first = int(plan.delay * 1000)
    return {
        **_counts(made.end, plan, "inputTokenCount", "outputTokenCount"),
        "invocationLatency": first + int(plan.pace * made.steps * 1000),
        "firstByteLatency": first,
        **_cache_counts(made.end, plan, "cache{}InputTokenCount"),
    }


# --- converse -----------------------------------------------------------------------------------------------------


def converse_frames(made: Composition, plan: Plan) -> Iterator[Frame]:
    """The events of one conversation's answer, in order; ``metadata`` is the last, and the one with the usage."""
    for piece in claude_events.stream_frames("", "", made, plan):
        if piece.is_paced:
            yield _paced_event(piece)
        elif not piece.is_last and (translated := _translated(claude_events.document_of(piece))) is not None:
            yield frame(converse_event(*translated))
    metadata: dict[str, Any] = {"metrics": {"latencyMs": _latency(made, plan)}}
    counts = converse_usage(made, plan)
    if counts is not None:
        metadata["usage"] = counts
    yield frame(converse_event("metadata", metadata), usage=claude_events.reported(made.end, plan), is_last=True)


def converse_event(kind: str, document: dict[str, Any]) -> bytes:
    """One event of Converse's own in a frame."""
    return event_frames.event(kind, padded(document))


@lru_cache(maxsize=_CACHED_DELTAS)
def _paced_event(piece: Frame) -> Frame:
    translated = _translated(claude_events.document_of(piece))
    assert translated is not None, "deltas have a place in Converse"
    return frame(converse_event(*translated), tokens=piece.tokens, is_paced=True)


def _translated(event: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """A Claude event as Converse has it; None for one that it has not, such as the start of a text."""
    match event["type"]:
        case "message_start":
            return "messageStart", {"role": "assistant"}
        case "content_block_start" if event["content_block"]["type"] == "tool_use":
            tool = {"toolUseId": event["content_block"]["id"], "name": event["content_block"]["name"]}
            return "contentBlockStart", {"contentBlockIndex": event["index"], "start": {"toolUse": tool}}
        case "content_block_delta":
            return "contentBlockDelta", {"contentBlockIndex": event["index"], "delta": _delta(event["delta"])}
        case "content_block_stop":
            return "contentBlockStop", {"contentBlockIndex": event["index"]}
        case "message_delta":
            return "messageStop", {"stopReason": event["delta"]["stop_reason"]}
    return None


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    match delta["type"]:
        case "thinking_delta":
            return {"reasoningContent": {"text": delta["thinking"]}}
        case "signature_delta":
            return {"reasoningContent": {"signature": delta["signature"]}}
        case "input_json_delta":
            return {"toolUse": {"input": delta["partial_json"]}}
    return {"text": delta["text"]}


def whole_conversation(made: Composition, plan: Plan) -> bytes:
    """The same answer as one JSON body."""
    message = json.loads(claude_events.whole_message("", "", made, plan))
    document: dict[str, Any] = {
        "metrics": {"latencyMs": _latency(made, plan)},
        "output": {"message": {"content": [_block(block) for block in message["content"]], "role": "assistant"}},
        "stopReason": message["stop_reason"],
    }
    counts = converse_usage(made, plan)
    if counts is not None:
        document["usage"] = counts
    return _json(document)


def _block(block: dict[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "thinking":
            text = {"text": block["thinking"], "signature": block["signature"]}
            return {"reasoningContent": {"reasoningText": text}}
        case "tool_use":
            return {"toolUse": {"input": block["input"], "name": block["name"], "toolUseId": block["id"]}}
    return {"text": block["text"]}


def converse_usage(made: Composition, plan: Plan) -> dict[str, Any] | None:
    """Usage with both spellings of the cache's numbers, as recorded; None when it is to be missing."""
    if plan.usage == "missing":
        return None
    total = claude_events.NONSENSE.get(plan.usage, made.end.total_tokens)
    return {
        **_cache_counts(made.end, plan, "cache{}InputTokenCount"),
        **_cache_counts(made.end, plan, "cache{}InputTokens"),
        **_counts(made.end, plan, "inputTokens", "outputTokens"),
        "serverToolUsage": {},
        "totalTokens": total,
    }


# --- shared -------------------------------------------------------------------------------------------------------


def padded(document: dict[str, Any]) -> bytes:
    """A payload with keys in order, and padding by a settled rule of its length: a message always has the same size."""
    size = len(_json(document)) * 7 % (len(_PADDING) + 1)
    filled = {**document, "p": _PADDING[:size]} if size else document
    return _json(dict(sorted(filled.items())))


def _counts(usage: Usage, plan: Plan, input_name: str, output_name: str) -> dict[str, Any]:
    return _or_nonsense(plan, {input_name: usage.input_tokens, output_name: usage.output_tokens})


def _cache_counts(usage: Usage, plan: Plan, name: str) -> dict[str, Any]:
    counts = {name.format("Read"): usage.cache_read_tokens, name.format("Write"): usage.cache_creation_tokens}
    return _or_nonsense(plan, counts)


def _or_nonsense(plan: Plan, counts: dict[str, Any]) -> dict[str, Any]:
    return {name: claude_events.NONSENSE.get(plan.usage, count) for name, count in counts.items()}


def _latency(made: Composition, plan: Plan) -> int:
    return int((plan.delay + plan.pace * made.steps) * 1000)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
