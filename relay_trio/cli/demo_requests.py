"""What the demo's clients ask for: requests in every dialect, and the last words by which their answers end.

The dialects are drawn in the proportion of the accounts' slots. Claude's clients meet Bedrock accounts too.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

KEY = "rt_demo"
"""The client key that the demo's relay accepts."""

CLAUDE_MODEL = "claude-sonnet-4-5"
BEDROCK_MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
GEMINI_MODEL = "gemini-2.5-flash"

_STREAMED = 0.85


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. A stream that ended well or told its error has one of ``last_words`` near its end; none are looked
    for in a whole answer."""

    target: str
    headers: tuple[tuple[str, str], ...]
    content: bytes
    last_words: tuple[bytes, ...] = ()


def draw_ask(rng: Random) -> Ask:
    """The next request of a client."""
    draw: Callable[[Random, str, int, bool], Ask] = rng.choices((_claude, _bedrock, _gemini), (24, 6, 8))[0]
    return draw(rng, "tell me about slots " * rng.randint(1, 20), rng.randint(10, 40), rng.random() < _STREAMED)


def _claude(rng: Random, prompt: str, tokens: int, is_stream: bool) -> Ask:
    body = {
        "model": CLAUDE_MODEL,
        "max_tokens": tokens,
        "stream": is_stream,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = (("x-api-key", KEY), ("anthropic-version", "2023-06-01"))
    return _ask("/v1/messages", headers, body, (b"event: message_stop", b"event: error") if is_stream else ())


def _bedrock(rng: Random, prompt: str, tokens: int, is_stream: bool) -> Ask:
    if rng.random() < 0.5:
        call = "invoke-with-response-stream" if is_stream else "invoke"
        body: dict[str, Any] = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": tokens,
            "messages": [{"role": "user", "content": prompt}],
        }
        last = b64encode(b'{"type":"message_stop')  # each event begins a base64 of its own; 21 bytes need no padding
    else:
        call = "converse-stream" if is_stream else "converse"
        body = {
            "messages": [{"role": "user", "content": [{"text": prompt}]}],
            "inferenceConfig": {"maxTokens": tokens},
        }
        last = b"metadata"
    target = f"/model/{quote(BEDROCK_MODEL, safe='')}/{call}"
    headers = (("authorization", f"Bearer {KEY}"),)
    return _ask(target, headers, body, (last, b"exception") if is_stream else ())


def _gemini(rng: Random, prompt: str, tokens: int, is_stream: bool) -> Ask:
    body = {
        "contents": [{"role": "user", "parts": [{"text": prompt}]}],
        "generationConfig": {"maxOutputTokens": tokens},
    }
    verb = rng.choice(("streamGenerateContent?alt=sse", "streamGenerateContent")) if is_stream else "generateContent"
    headers = (("x-goog-api-key", KEY),)
    last_words = (b'"finishReason"', b'"error"') if is_stream else ()
    return _ask(f"/v1beta/models/{GEMINI_MODEL}:{verb}", headers, body, last_words)


def _ask(target: str, headers: tuple[tuple[str, str], ...], body: dict[str, Any], last_words: tuple[bytes, ...]) -> Ask:
    return Ask(target, (*headers, ("content-type", "application/json")), json.dumps(body).encode(), last_words)
