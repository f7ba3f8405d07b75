"""Sample requests and accounts of Bedrock."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.simulator.samples import SampleAccount, SampleRequest, Samples
from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS
from relay_trio.simulator.vendors.claude.samples import MODEL as CLAUDE_MODEL
from relay_trio.simulator.vendors.claude.samples import messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.simulator.samples import Prompt

MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
_ERROR = b":exception-type"


def invoke(prompt: Prompt) -> SampleRequest:
    """An invocation: Claude's events in base64, in frames, or one document."""
    document = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": prompt.max_tokens,
        "messages": [{"role": "user", "content": prompt.text}],
    }
    verb = "invoke-with-response-stream" if prompt.is_stream else "invoke"
    return _request(prompt, verb, document, b64encode(b'{"type":"message_stop'))


def converse(prompt: Prompt) -> SampleRequest:
    """A conversation: frames of the Converse API's own events, or one document."""
    document = {
        "messages": [{"role": "user", "content": [{"text": prompt.text}]}],
        "inferenceConfig": {"maxTokens": prompt.max_tokens},
    }
    verb = "converse-stream" if prompt.is_stream else "converse"
    return _request(prompt, verb, document, b":event-type\x07\x00\x08metadata")


def message(prompt: Prompt) -> SampleRequest:
    """A message of Claude's API that names the model as Bedrock does: which a relay has its Bedrock accounts answer."""
    return messages(replace(prompt, model=prompt.model or MODEL))


def _request(prompt: Prompt, verb: str, document: Mapping[str, object], end: bytes) -> SampleRequest:
    target = f"/model/{quote(prompt.model_or(MODEL), safe='')}/{verb}"
    headers = (("authorization", f"Bearer {prompt.key}"),)
    return SampleRequest(target, headers, json.dumps(document).encode(), (end, _ERROR) if prompt.is_stream else ())


SAMPLES = Samples(
    requests=(invoke, converse, message),
    accounts=(
        SampleAccount(
            "bedrock-eu",
            "bedrock",
            10,
            "delay=0.20..0.60,pace=0.045",
            credential=_KEY_ID,
            settings={
                "region": "eu-central-1",
                "access_key_id": _KEY_ID,
                "secret_access_key": ACCESS_KEYS[_KEY_ID].secret,
                "model_ids": {CLAUDE_MODEL: MODEL},
            },
        ),
    ),
)
"""The account signs, and serves Claude's clients too, translated."""
