"""Gemini's answers for tests: one stream as chunks, in both of its forms, and its usage."""

from __future__ import annotations

import json
from typing import Any

from relay_trio.usage import UsageSource, UsageStats


def candidate(text: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One candidate's next words."""
    return (
        {"content": {"parts": [{"text": text}], "role": "model"}} | ({"finishReason": reason} if reason else {}) | more
    )


def counts(total: int, prompt: int = 10, **more: int) -> dict[str, int]:
    return {"promptTokenCount": prompt, "totalTokenCount": total, **more}


CHUNKS: tuple[dict[str, Any], ...] = (
    {"candidates": [candidate("hello ")], "usageMetadata": counts(11, candidatesTokenCount=1)},
    {"candidates": [candidate('say "finishReason" \u2028 é')], "usageMetadata": counts(14, candidatesTokenCount=4)},
    {
        "candidates": [candidate("", "STOP")],
        "usageMetadata": counts(20, 11, candidatesTokenCount=5, thoughtsTokenCount=4, cachedContentTokenCount=3),
    },
)
USAGE = UsageStats(input_tokens=8, output_tokens=9, cache_read_tokens=3, source=UsageSource.EXACT)
ERROR = {"error": {"code": 503, "message": "a canary prompt", "status": "UNAVAILABLE"}}


def event(data: object) -> bytes:
    """One server-sent event, as Google delimits it."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\r\n\r\n".encode()


def pretty(data: object) -> bytes:
    """JSON as Google lays it out outside of events."""
    return json.dumps(data, indent=2, ensure_ascii=False).encode()


EVENTS = tuple(event(chunk) for chunk in CHUNKS)
ARRAY = (b"[" + pretty(CHUNKS[0]), *(b"\n,\r\n" + pretty(chunk) for chunk in CHUNKS[1:]), b"\n]\n")
"""Each piece is what Google sends at one time."""
