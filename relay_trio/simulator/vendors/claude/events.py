"""Claude's answers as bytes: the events of a stream and the JSON of a whole message, from one composition.

Layout after recorded streams: ``event:`` and ``data:`` lines, LF LF, padding spaces before the last brace, ``ping``
after the first block's start. Deltas are made once per text and then only sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.faults import SpecError
from relay_trio.simulator.script import Frame, Usage, frame
from relay_trio.simulator.text import text_of, thinking_of, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.simulator.plan import Plan

SIGNATURE = "EqQBCgIYAhIkc2ltdWxhdGVkLXNpZ25hdHVyZS1vZi1hLXRoaW5raW5nLWJsb2Nr"


@dataclass(frozen=True, slots=True)
class Composition:
    """What one message will hold: delta counts by block, the tool call if any, and all its tokens."""

    thinking: int
    text: int
    tool_name: str | None
    tool_pieces: tuple[str, ...]
    stop_reason: str
    start: Usage
    end: Usage
    thinking_tokens: int
    delta_input: int | None

    @property
    def steps(self) -> int:
        """Content deltas in all."""
        return self.thinking + self.text + len(self.tool_pieces)


# --- a stream -----------------------------------------------------------------------------------------------------


def stream_frames(message_id: str, model: str, made: Composition, plan: Plan) -> Iterator[Frame]:
    """The events of one message, in order."""
    opening = _usage_json(made.start, plan, split=True)
    shell = _message(message_id, model, [], None, opening)
    yield event("message_start", {"type": "message_start", "message": shell}, usage=reported(made.start, plan))
    for index, (block, deltas, closing) in enumerate(_parts(made, plan)):
        yield event("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            yield PING
        yield from deltas(index)
        if closing is not None:
            yield event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": closing})
        yield event("content_block_stop", {"type": "content_block_stop", "index": index})
    delta = {"stop_reason": made.stop_reason, "stop_sequence": None}
    usage = _delta_usage_json(made, plan)
    document: dict[str, Any] = {"type": "message_delta", "delta": delta}
    if usage is not None:
        document["usage"] = usage
    yield event("message_delta", document, usage=reported(made.end, plan))
    yield MESSAGE_STOP


def event(name: str, document: object, *, usage: Usage | None = None) -> Frame:
    """One event with padding as the provider pads, by a settled rule."""
    return frame(_event_bytes(name, document, len(name) % 5), usage=usage)


def document_of(piece: Frame) -> dict[str, Any]:
    """The JSON of an event that was made here."""
    document: dict[str, Any] = json.loads(piece.content.partition(b"data: ")[2])
    return document


def _event_bytes(name: str, document: object, padding: int) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return f"event: {name}\ndata: {text[:-1]}{' ' * padding}}}\n\n".encode()


PING = frame(b'event: ping\ndata: {"type": "ping"}\n\n')
MESSAGE_STOP = frame(_event_bytes("message_stop", {"type": "message_stop"}, 13), is_last=True)


def _parts(made: Composition, plan: Plan) -> Iterator[tuple[dict[str, Any], Any, dict[str, Any] | None]]:
    """For each block: how it starts, its deltas as a function of its index, and the delta that closes it."""
    if made.thinking:
        start = {"type": "thinking", "thinking": "", "signature": ""}
        closing = {"type": "signature_delta", "signature": SIGNATURE}
        yield start, lambda index: _cycle(_deltas("thinking", index, None, plan.tokens), made.thinking), closing
    if made.text:
        start = {"type": "text", "text": ""}
        yield start, lambda index: _cycle(_deltas("text", index, plan.chars, plan.tokens), made.text), None
    if made.tool_name is not None:
        start = {"type": "tool_use", "id": _TOOL_ID, "name": made.tool_name, "input": {}}  # type: ignore[dict-item]
        yield start, lambda index: _tool_deltas(index, made.tool_pieces, plan.tokens), None


_TOOL_ID = "toolu_01simulated00000000000"


def _cycle(table: tuple[Frame, ...], count: int) -> Iterator[Frame]:
    size = len(table)
    for position in range(count):
        yield table[position % size]


@lru_cache(maxsize=256)
def _deltas(kind: str, index: int, chars: int | None, tokens: int) -> tuple[Frame, ...]:
    return tuple(_delta(kind, index, text, tokens, position * 7 % 16) for position, text in enumerate(words(chars)))


def _delta(kind: str, index: int, text: str, tokens: int, padding: int) -> Frame:
    field = {"text": "text", "thinking": "thinking", "input_json": "partial_json"}[kind]
    document = {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", field: text}}
    return frame(_event_bytes("content_block_delta", document, padding), tokens=tokens, is_paced=True)


def _tool_deltas(index: int, pieces: tuple[str, ...], tokens: int) -> Iterator[Frame]:
    empty = {"type": "input_json_delta", "partial_json": ""}
    yield event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": empty})
    for piece in pieces:
        yield _delta("input_json", index, piece, tokens, 1)


# --- a whole message ----------------------------------------------------------------------------------------------


def whole_message(message_id: str, model: str, made: Composition, plan: Plan) -> bytes:
    """The same message as one JSON body."""
    content: list[dict[str, Any]] = []
    if made.thinking:
        content.append({"type": "thinking", "thinking": thinking_of(made.thinking), "signature": SIGNATURE})
    if made.text:
        content.append({"type": "text", "text": text_of(made.text, plan.chars)})
    if made.tool_name is not None:
        arguments = json.loads("".join(made.tool_pieces))
        content.append({"type": "tool_use", "id": _TOOL_ID, "name": made.tool_name, "input": arguments})
    usage = _usage_json(made.end, plan, split=True)
    if isinstance(usage, dict) and made.thinking:
        usage["output_tokens_details"] = {"thinking_tokens": made.thinking_tokens}
    document = _message(message_id, model, content, made.stop_reason, usage)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def whole_usage(made: Composition, plan: Plan) -> Usage | None:
    """What a reader of the whole message knows."""
    return reported(made.end, plan)


def _message(
    message_id: str, model: str, content: list[dict[str, Any]], stop_reason: str | None, usage: dict[str, Any] | None
) -> dict[str, Any]:
    message = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }
    return message if usage is _MISSING else {**message, "usage": usage}


# --- usage --------------------------------------------------------------------------------------------------------

_MISSING: dict[str, Any] = {}
NONSENSE: dict[str, object] = {"negative": -5, "huge": 1e300, "string": "many", "null": None}
"""What stands in place of each number, by the plan's ``usage``."""


def _usage_json(usage: Usage, plan: Plan, *, split: bool) -> dict[str, Any] | None:
    if plan.usage == "missing":
        return _MISSING
    fields: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
    }
    if split:
        fields["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_creation_tokens,
            "ephemeral_1h_input_tokens": 0,
        }
    fields["output_tokens"] = usage.output_tokens
    if plan.usage in NONSENSE:
        fields.update(dict.fromkeys(fields, NONSENSE[plan.usage]))
    if split:
        fields["service_tier"] = "standard"
    return fields


def _delta_usage_json(made: Composition, plan: Plan) -> dict[str, Any] | None:
    fields = _usage_json(made.end, plan, split=False)
    if fields is _MISSING or fields is None:
        return None
    if plan.delta_usage == "output" and made.delta_input is None:
        fields = {"output_tokens": fields["output_tokens"]}
    if made.delta_input is not None:
        fields["server_tool_use"] = {"web_search_requests": 1, "web_fetch_requests": 0}
    if made.thinking:
        fields["output_tokens_details"] = {"thinking_tokens": made.thinking_tokens}
    return fields


def reported(usage: Usage, plan: Plan) -> Usage | None:
    """What a reader knows: nothing of nonsense, but decreasing numbers count."""
    return usage if plan.usage in {"normal", "decreasing"} else None


# --- faults -------------------------------------------------------------------------------------------------------

MALFORMED = {
    "no_colon": b"this line has no colon\n\n",
    "bare_cr": b"event: ping\rdata: {}\r\r",
    "bom": b"\xef\xbb\xbfevent: ping\ndata: {}\n\n",
    "empty_data": b"data:\n\n",
    "comment": b": a comment\n\n:\n\n",
    "unknown_event": b'event: from_the_future\ndata: {"type":"from_the_future"}\n\n',
    "unknown_field": b"id: 7\nretry: 10\n\n",
    "bad_utf8": b'event: ping\ndata: {"\xff\xfe": 1}\n\n',
    "bad_json": b"event: content_block_delta\ndata: {not json\n\n",
}


def malformed(kind: str) -> Frame:
    """One of ``MALFORMED``, or all of them one after another.

    Raises:
        SpecError: there is no such kind.
    """
    if kind and kind not in MALFORMED:
        raise SpecError(f"malformed:{kind} is none of {', '.join(MALFORMED)}")
    return frame(MALFORMED[kind] if kind else b"".join(MALFORMED.values()))


def huge_event(size: int) -> Frame:
    """A valid text delta of about ``size`` bytes."""
    document = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "h" * size}}
    return event("content_block_delta", document)


def error_event(kind: str, message: str, request_id: str) -> Frame:
    """The dialect's error inside a stream."""
    error = {"type": kind, "message": message}
    return event("error", {"type": "error", "error": error, "request_id": request_id})
