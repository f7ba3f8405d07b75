"""Samples of Anthropic's API, for recordings and the conformance suite."""

from __future__ import annotations

from typing import Any

from tests.support.vendor_samples import Sample, SampleAccount, VendorSamples

VERSION = ("anthropic-version", "2023-06-01")
GZIP = ("accept-encoding", "gzip, deflate")
KEY, TOKEN = "sk-ant-api03-canary-of-the-account", "sk-ant-oat01-canary-of-the-account"
PROMPT = [{"role": "user", "content": "Say something about the sea."}]
TOOL = {
    "name": "weather",
    "description": "The weather of a place.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
USES_A_TOOL = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}}


def messages(name: str, spec: str = "", *, gzip: bool = False, stream: bool = True, **members: Any) -> Sample:
    """A request for a message."""
    document = {"model": "claude-sim", "max_tokens": 2048, "messages": PROMPT, **members}
    if stream:
        document["stream"] = True
    headers = (VERSION, GZIP) if gzip else (VERSION,)
    return Sample(
        name, "claude.messages", "/v1/messages", document, headers=headers, spec=f"chunks=3,thinking=2,{spec}"
    )


MESSAGES = (
    messages("messages-sse"),
    messages("messages-sse-thinking", **THINKS),
    messages("messages-sse-tool-use", **USES_A_TOOL),
    messages("messages-sse-cache", "cache_creation=40,cache_read=300,input=5"),
    messages("messages-sse-input-at-the-end", "input=5,delta_input=77"),
    messages("messages-sse-output-only-at-the-end", "delta_usage=output"),
    messages("messages-sse-cut-between-events", "fault=end_after_events:4"),
    messages("messages-sse-cut-in-an-event", "fault=end_after:700"),
    messages("messages-sse-error", "fault=error_event:4"),
    messages("messages-json", stream=False),
    messages("messages-json-thinking", stream=False, **THINKS),
)
"""Any provider that serves Claude's clients has an answer to each of these."""


def count_tokens(name: str) -> Sample:
    """A request for the tokens of a message."""
    document = {"model": "claude-sim", "messages": PROMPT}
    return Sample(name, "claude.count_tokens", "/v1/messages/count_tokens", document, headers=(VERSION,))


OTHER_MODEL = messages("messages-unknown-model", model="claude-unheard-of")


def _get(name: str, operation: str, target: str) -> Sample:
    return Sample(name, operation, target, method="GET", headers=(VERSION,))


SAMPLES = VendorSamples(
    accounts=(
        SampleAccount({"api_key": KEY}, (KEY,)),
        SampleAccount({"api_key": TOKEN}, (TOKEN,)),
    ),
    wrong=SampleAccount({"api_key": "sk-ant-api03-wrong"}, ("sk-ant-api03-wrong",)),
    samples=(
        *MESSAGES,
        OTHER_MODEL,
        messages("messages-sse-odd-events", "fault=malformed"),
        messages("messages-sse-without-usage", "usage=missing"),
        messages("messages-sse-gzip", "fault=gzip", gzip=True),
        messages("messages-json-gzip", "fault=gzip", gzip=True, stream=False),
        messages("messages-rate-limit", "fault=429:7"),
        messages("messages-overloaded", "fault=529"),
        Sample(
            "messages-refused",
            "claude.messages",
            "/v1/messages",
            {"model": "claude-sim", "messages": PROMPT},
            headers=(VERSION,),
            is_refused=True,
        ),
        count_tokens("count-tokens"),
        _get("models", "claude.models", "/v1/models"),
        _get("models-one", "claude.models", "/v1/models/claude-sim"),
        _get("batches", "claude.batches", "/v1/messages/batches"),
    ),
)
