"""Gemini's answers as JSON texts: the chunks of a stream, and the one body of an answer that is not streamed.

Both are made from one ``Composition``. ``usageMetadata`` is a running snapshot, sent with every chunk; on Vertex the
chunks before the last hold a ``trafficType`` only. Layout after recordings: a space after colons, none after commas.
How chunks become bytes is a matter of ``forms``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from relay_trio.simulator.script import Usage
from relay_trio.simulator.text import text_of, thinking_of, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.simulator.plan import Plan

SIGNATURE = "CiQBjz1rXnNpbXVsYXRlZC1zaWduYXR1cmUtb2YtYS10aG91Z2h0"
_RECEDES_BY = 7
"""How much more output a chunk reports than is true, in an answer whose counts decrease."""
_TRAFFIC_ONLY = '"usageMetadata": {"trafficType": "ON_DEMAND"},'
_encode = json.JSONEncoder(separators=(",", ": "), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Composition:
    """What one answer will hold: numbers of deltas, the function call if any, and the prompt's tokens.

    ``text`` deltas are spent on ``call`` when there is one: it comes in one piece. ``hidden_thoughts`` are counted
    and not shown. ``prompt`` holds ``cached`` and not ``tool_use``; the last chunk reports ``end_prompt`` in its place.
    ``tokens`` are those of one delta.
    """

    thoughts: int
    hidden_thoughts: int
    text: int
    call: dict[str, Any] | None
    finish_reason: str
    prompt: int
    end_prompt: int
    cached: int
    tool_use: int
    tokens: int

    @property
    def steps(self) -> int:
        """Deltas in all, hidden ones too."""
        return self.thoughts + self.hidden_thoughts + self.text


@dataclass(frozen=True, slots=True)
class Source:
    """Who answers: what stands in every chunk."""

    model: str
    response_id: str
    is_vertex: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """One ``GenerateContentResponse`` of a stream as JSON; the other fields as in ``Frame``."""

    text: str
    tokens: int
    usage: Usage | None
    is_paced: bool
    is_last: bool


# --- a stream -----------------------------------------------------------------------------------------------------


def stream_chunks(made: Composition, plan: Plan, source: Source) -> Iterator[Chunk]:
    """The chunks of one answer, in order; the one with the finish reason is the last."""
    tail = _tail(source)
    tokens = made.tokens
    thoughts = made.hidden_thoughts * tokens
    candidates = 0
    count = made.thoughts + (made.text if made.call is None else 2)
    unpaid = thoughts  # hidden thoughts are generated before the first chunk
    for position, (part, kind, steps) in enumerate(_parts(made, plan)):
        if kind == "thought":
            thoughts += steps * tokens
        else:
            candidates += steps * tokens
        is_last = position == count - 1
        if source.is_vertex and not is_last:
            reported, usage = "" if plan.usage == "missing" else _TRAFFIC_ONLY, None
        else:
            counts = (
                _end_counts(made, plan)
                if is_last
                else _running_counts(made, plan, candidates, thoughts, is_first=position == 0)
            )
            reported, usage = _reported_text(counts, plan.usage, source.is_vertex)
        head = _head(part, made.finish_reason if is_last else "", source.is_vertex)
        yield Chunk(f"{head}{reported}{tail}", unpaid + steps * tokens, usage, steps > 0, is_last)
        unpaid = 0


def _parts(made: Composition, plan: Plan) -> Iterator[tuple[str, str, int]]:
    """Each chunk's one part as JSON, whether it is a thought, and how many deltas it is worth."""
    table = words(None)
    for index in range(made.thoughts):
        yield _text_part(table[index % len(table)], "thought"), "thought", 1
    kind = "signed" if made.thoughts or made.hidden_thoughts else ""
    if made.call is not None:
        yield _encode(_call_part(made.call, kind)), "call", made.text
        yield _text_part("", ""), "", 0
        return
    table = words(plan.chars)
    for index in range(made.text):
        yield _text_part(table[index % len(table)], kind), "", 1
        kind = ""


@lru_cache(maxsize=1024)
def _text_part(text: str, kind: str) -> str:
    return _encode(_text_fields(text, kind))


def _text_fields(text: str, kind: str) -> dict[str, Any]:
    part: dict[str, Any] = {"text": text}
    if kind == "thought":
        part["thought"] = True
    elif kind == "signed":
        part["thoughtSignature"] = SIGNATURE
    return part


def _call_part(call: dict[str, Any], kind: str) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": call}
    return {**part, "thoughtSignature": SIGNATURE} if kind == "signed" else part


@lru_cache(maxsize=2048)
def _head(part: str, finish_reason: str, is_vertex: bool) -> str:
    """A chunk until its candidate's end; the two services order the fields differently."""
    content = f'"role": "model","parts": [{part}]' if is_vertex else f'"parts": [{part}],"role": "model"'
    reason = f',"finishReason": "{finish_reason}"' if finish_reason else ""
    index = "" if is_vertex else ',"index": 0'
    return f'{{"candidates": [{{"content": {{{content}}}{reason}{index}}}],'


def _tail(source: Source) -> str:
    """A chunk from its model on."""
    return _encode(_about(source))[1:]


def _about(source: Source) -> dict[str, Any]:
    created = {"createTime": "2026-01-01T00:00:00.000000Z"} if source.is_vertex else {}
    return {"modelVersion": source.model, **created, "responseId": source.response_id}


# --- a whole answer -----------------------------------------------------------------------------------------------


def whole_answer(made: Composition, plan: Plan, source: Source) -> tuple[dict[str, Any], Usage | None]:
    """The same answer as one JSON value, and what its reader knows."""
    parts: list[dict[str, Any]] = []
    if made.thoughts:
        parts.append(_text_fields(thinking_of(made.thoughts), "thought"))
    kind = "signed" if made.thoughts or made.hidden_thoughts else ""
    if made.call is not None:
        parts.append(_call_part(made.call, kind))
    else:
        parts.append(_text_fields(text_of(made.text, plan.chars), kind))
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": made.finish_reason, "index": 0}
    document: dict[str, Any] = {"candidates": [candidate]}
    fields, usage = report(_end_counts(made, plan), plan.usage, source.is_vertex)
    if fields is not None:
        document["usageMetadata"] = fields
    return document | _about(source), usage


# --- usage --------------------------------------------------------------------------------------------------------

_NONSENSE: dict[str, object] = {"negative": -5, "huge": 1e300, "string": "many", "null": None}
Reported = tuple[dict[str, Any] | None, Usage | None]
"""``usageMetadata`` as sent, None when it is left out; and what its reader knows."""


class Counts(NamedTuple):
    """Tokens as Google counts them: cached ones are inside the prompt, thoughts outside the candidates."""

    prompt: int
    tool_use: int = 0
    cached: int = 0
    candidates: int = 0
    thoughts: int = 0


def _end_counts(made: Composition, plan: Plan) -> Counts:
    """As the last chunk and the whole answer report them."""
    thoughts = (made.thoughts + made.hidden_thoughts) * made.tokens
    candidates = 0 if plan.delta_usage == "thoughts" else made.text * made.tokens
    return Counts(made.end_prompt, made.tool_use, made.cached, candidates, thoughts)


def _running_counts(made: Composition, plan: Plan, candidates: int, thoughts: int, *, is_first: bool) -> Counts:
    if plan.usage == "decreasing":
        candidates += made.text * made.tokens + _RECEDES_BY
    return Counts(made.prompt, 0 if is_first else made.tool_use, made.cached, candidates, thoughts)


def report(counts: Counts, kind: str, is_vertex: bool) -> Reported:
    """``counts`` in Google's fields and in our columns; ``kind`` is the plan's ``usage``.

    As in all of Google's JSON, a count of zero is left out.
    """
    if kind == "missing":
        return None, None
    prompt, tool_use, cached, candidates, thoughts = counts
    fields: dict[str, Any] = {"promptTokenCount": prompt}
    if candidates:
        fields["candidatesTokenCount"] = candidates
    fields["totalTokenCount"] = prompt + tool_use + candidates + thoughts
    if cached:
        fields["cachedContentTokenCount"] = cached
    if tool_use:
        fields["toolUsePromptTokenCount"] = tool_use
    if thoughts:
        fields["thoughtsTokenCount"] = thoughts
    if kind in _NONSENSE:
        return dict.fromkeys(fields, _NONSENSE[kind]), None
    fields["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
    if cached:
        fields["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": cached}]
    if is_vertex:
        fields["trafficType"] = "ON_DEMAND"
    return fields, Usage(prompt + tool_use - cached, candidates + thoughts, 0, cached)


@lru_cache(maxsize=8192)
def _reported_text(counts: Counts, kind: str, is_vertex: bool) -> tuple[str, Usage | None]:
    """The same as a piece of a chunk: answers of one length report the same numbers again and again."""
    fields, usage = report(counts, kind, is_vertex)
    return "" if fields is None else f'"usageMetadata": {_encode(fields)},', usage
