"""Sample requests and accounts of the Gemini API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.simulator.samples import SampleRequest, Samples, with_api_key

if TYPE_CHECKING:
    from relay_trio.simulator.samples import Prompt

MODEL = "gemini-2.5-flash"
_ERROR = b'"error"'


def events(prompt: Prompt) -> SampleRequest:
    """Server-sent events, of which the last is known by its finish reason only; or one document."""
    return _request(prompt, "?alt=sse", b'"finishReason"')


def array(prompt: Prompt) -> SampleRequest:
    """One JSON array, of which only the closing bracket stands at the beginning of a line; or one document."""
    return _request(prompt, "", b"\n]")


def _request(prompt: Prompt, query: str, end: bytes) -> SampleRequest:
    verb = f"streamGenerateContent{query}" if prompt.is_stream else "generateContent"
    document = {
        "contents": [{"role": "user", "parts": [{"text": prompt.text}]}],
        "generationConfig": {"maxOutputTokens": prompt.max_tokens},
    }
    target = f"/v1beta/models/{prompt.model_or(MODEL)}:{verb}"
    ends = (end, _ERROR) if prompt.is_stream else ()
    return SampleRequest(target, (("x-goog-api-key", prompt.key),), json.dumps(document).encode(), ends)


SAMPLES = Samples(
    requests=(events, array),
    accounts=(with_api_key("gemini-1", "gemini", 8, "delay=0.05..0.20,pace=0.030"),),
)
