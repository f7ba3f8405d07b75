"""What the demo's clients say: one request in each dialect, and how a good end of its answer looks.

Each is written here by hand, and an end is found by its bytes: a parser of the relay's own would forgive what the relay
does wrong.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.demo.accounts import BEDROCK_MODEL, CLAUDE_MODEL, GEMINI_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

KEY = "rt_demo"
"""The client key that the demo's relay accepts."""

_FRAME_OF_AN_ERROR = b":exception-type"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; ``headers`` are those of its dialect. One of ``last_words`` is near the end of an answer that ended
    well or with an error that was told; an answer that is no stream has none."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    last_words: tuple[bytes, ...] = ()

    def has_last_word(self, tail: bytes) -> bool:
        """Whether an answer with these last bytes ended as its dialect ends one."""
        return not self.last_words or any(word in tail for word in self.last_words)


def claude(rng: Random) -> Ask:
    """The Messages API: mostly server-sent events, else one document."""
    is_stream = rng.random() < 0.85
    content = {"model": CLAUDE_MODEL, "max_tokens": _limit(rng), "stream": is_stream}
    message = {"role": "user", "content": _prompt(rng)}
    headers = (("x-api-key", KEY), ("anthropic-version", "2023-06-01"))
    last_words = (b"event: message_stop", b"event: error") if is_stream else ()
    return Ask("/v1/messages", headers, _json({**content, "messages": [message]}), last_words)


def bedrock_invoke(rng: Random) -> Ask:
    """``invoke-with-response-stream``: Claude's events in base64, in frames."""
    message = {"role": "user", "content": _prompt(rng)}
    content = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": _limit(rng), "messages": [message]}
    last_words = (b64encode(b'{"type":"message_stop'), _FRAME_OF_AN_ERROR)
    return _bedrock("invoke-with-response-stream", content, last_words)


def bedrock_converse(rng: Random) -> Ask:
    """``converse-stream``: frames of the Converse API's own events."""
    message = {"role": "user", "content": [{"text": _prompt(rng)}]}
    content = {"inferenceConfig": {"maxTokens": _limit(rng)}, "messages": [message]}
    return _bedrock("converse-stream", content, (b":event-type\x07\x00\x08metadata", _FRAME_OF_AN_ERROR))


def gemini_events(rng: Random) -> Ask:
    """``streamGenerateContent`` as server-sent events, which have no last one: the finish reason is the end."""
    return _gemini("?alt=sse", rng, (b'"finishReason"', b'"error"'))


def gemini_array(rng: Random) -> Ask:
    """``streamGenerateContent`` as one JSON array; only its closing bracket stands at the beginning of a line."""
    return _gemini("", rng, (b"\n]", b'"error"'))


DIALECTS: tuple[Callable[[Random], Ask], ...] = (
    claude,
    bedrock_invoke,
    gemini_events,
    claude,
    bedrock_converse,
    gemini_array,
)
"""Clients take them in turn, and each keeps its own."""


def _bedrock(verb: str, content: Mapping[str, object], last_words: tuple[bytes, ...]) -> Ask:
    target = f"/model/{quote(BEDROCK_MODEL, safe='')}/{verb}"
    return Ask(target, (("authorization", f"Bearer {KEY}"),), _json(content), last_words)


def _gemini(query: str, rng: Random, last_words: tuple[bytes, ...]) -> Ask:
    target = f"/v1beta/models/{GEMINI_MODEL}:streamGenerateContent{query}"
    message = {"role": "user", "parts": [{"text": _prompt(rng)}]}
    content = {"generationConfig": {"maxOutputTokens": _limit(rng)}, "contents": [message]}
    return Ask(target, (("x-goog-api-key", KEY),), _json(content), last_words)


def _prompt(rng: Random) -> str:
    return "tell me about slots " * rng.randint(1, 20)


def _limit(rng: Random) -> int:
    return rng.randint(10, 40)


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content).encode()
