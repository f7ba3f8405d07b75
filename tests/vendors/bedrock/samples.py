"""Samples of Bedrock, for recordings and the conformance suite."""

from __future__ import annotations

from typing import Any

from tests.support.vendor_samples import Sample, SampleAccount, VendorSamples
from tests.vendors.claude import samples as claude

MODEL = "anthropic.claude-sim-v1:0"
KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY = "bedrock-api-key-canary-of-the-account"
ACCOUNT = {
    "region": "eu-central-1",
    "models": ["*"],
    "model_ids": {"claude-sim": MODEL, "claude-unheard-of": "no.such"},
}


def invoke(name: str, spec: str = "", *, stream: bool = True, model: str = MODEL, **members: Any) -> Sample:
    """An invocation of a model in its own format, Claude's."""
    document = {
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 2048, "messages": claude.PROMPT, **members
    }  # fmt: skip
    return _call(name, "invoke-with-response-stream" if stream else "invoke", document, spec, model)


def converse(name: str, spec: str = "", *, stream: bool = True, **members: Any) -> Sample:
    """A conversation in the format that all models share."""
    messages = [{"role": "user", "content": [{"text": "Say something about the sea."}]}]
    document = {"messages": messages, "inferenceConfig": {"maxTokens": 2048}, **members}
    return _call(name, "converse-stream" if stream else "converse", document, spec)


_OPERATIONS = {
    "invoke": "bedrock.invoke",
    "invoke-with-response-stream": "bedrock.invoke_stream",
    "converse": "bedrock.converse",
    "converse-stream": "bedrock.converse_stream",
    "count-tokens": "bedrock.count_tokens",
}


def _call(name: str, verb: str, document: object, spec: str = "", model: str = MODEL) -> Sample:
    spec = f"chunks=3,thinking=2,{spec}"
    return Sample(name, _OPERATIONS[verb], f"/model/{model.replace(':', '%3A')}/{verb}", document, spec=spec)


CONVERSE_THINKS = {"additionalModelRequestFields": claude.THINKS}
CONVERSE_TOOL = {
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "weather",
                    "description": "The weather of a place.",
                    "inputSchema": {"json": claude.TOOL["input_schema"]},
                }
            }
        ],
        "toolChoice": {"tool": {"name": "weather"}},
    }
}

SAMPLES = VendorSamples(
    accounts=(
        SampleAccount({**ACCOUNT, "access_key_id": KEY_ID, "secret_access_key": SECRET}, (SECRET,)),
        SampleAccount({**ACCOUNT, "api_key": KEY}, (KEY,)),
    ),
    wrong=SampleAccount({**ACCOUNT, "access_key_id": KEY_ID, "secret_access_key": "not" + SECRET}, ("not" + SECRET,)),
    samples=(
        *claude.MESSAGES,
        claude.OTHER_MODEL,
        claude.count_tokens("messages-count-tokens"),
        invoke("invoke", stream=False),
        invoke("invoke-thinking", stream=False, **claude.THINKS),
        invoke("invoke-stream"),
        invoke("invoke-stream-thinking", **claude.THINKS),
        invoke("invoke-stream-tool-use", **claude.USES_A_TOOL),
        invoke("invoke-stream-cache", "cache_creation=40,cache_read=300,input=5"),
        invoke("invoke-stream-cut-between-frames", "fault=end_after_events:4"),
        invoke("invoke-stream-cut-in-a-frame", "fault=end_after:900"),
        invoke("invoke-stream-exception", "fault=error_event:4/throttlingException"),
        invoke("invoke-stream-unmodelled-error", "fault=error_event:4/InternalError"),
        invoke("invoke-unknown-model", model="no.such"),
        invoke("invoke-throttled", "fault=429:none", stream=False),
        Sample("invoke-refused", "bedrock.invoke", f"/model/{MODEL}/invoke", {}, is_refused=True),
        converse("converse", stream=False),
        converse("converse-tool-use", stream=False, **CONVERSE_TOOL),
        converse("converse-stream"),
        converse("converse-stream-thinking", **CONVERSE_THINKS),
        converse("converse-stream-tool-use", **CONVERSE_TOOL),
        converse("converse-stream-cut-between-frames", "fault=end_after_events:4"),
        converse("converse-stream-cut-in-a-frame", "fault=end_after:700"),
        converse("converse-stream-exception", "fault=error_event:4/modelStreamErrorException"),
        _call("count-tokens", "count-tokens", {"input": {"converse": {"messages": [
            {"role": "user", "content": [{"text": "Say something about the sea."}]}
        ]}}}),
        Sample("inference-profiles", "bedrock.inference_profiles", "/inference-profiles?maxResults=2", method="GET"),
    ),
    translated=frozenset({"claude.messages", "claude.count_tokens"}),
)  # fmt: skip
