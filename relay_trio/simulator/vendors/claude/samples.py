"""Sample requests and accounts of the Claude Messages API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.simulator.samples import SampleRequest, Samples, with_api_key

if TYPE_CHECKING:
    from relay_trio.simulator.samples import Prompt

MODEL = "claude-sonnet-4-5"


def messages(prompt: Prompt) -> SampleRequest:
    """A message: server-sent events, or one document."""
    document = {
        "model": prompt.model_or(MODEL),
        "max_tokens": prompt.max_tokens,
        "stream": prompt.is_stream,
        "messages": [{"role": "user", "content": prompt.text}],
    }
    headers = (("x-api-key", prompt.key), ("anthropic-version", "2023-06-01"))
    ends = (b"event: message_stop", b"event: error") if prompt.is_stream else ()
    return SampleRequest("/v1/messages", headers, json.dumps(document).encode(), ends)


SAMPLES = Samples(
    requests=(messages,),
    accounts=(
        with_api_key("claude-a", "anthropic", 8, "delay=0.10..0.25,pace=0.035"),
        with_api_key("claude-b", "anthropic", 6, "delay=0.15..0.40,pace=0.040"),
    ),
)
