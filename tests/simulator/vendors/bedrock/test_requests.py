"""Reading routes and bodies, and Converse in Claude's terms."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.simulator.plan import split_model
from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.bedrock.requests import (
    claude_message,
    converse_message,
    counted_message,
    operation,
    read_call,
)
from relay_trio.simulator.vendors.claude.requests import Invalid, check_message
from relay_trio.simulator.vendors.claude.tokens import PromptCache, count_tokens
from tests.simulator.vendors.bedrock.asking import CLAUDE, CONVERSE, target

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sim-v1:0"
SPEC = "chunks=5,pace=0.01,fault=gzip+error_event:4/throttlingException"


def request(path: str, body: bytes = b"", *headers: tuple[bytes, bytes], method: str = "POST") -> Request:
    return Request(method, path.encode(), list(headers), body, True)


@pytest.mark.parametrize("model", ["claude-sim", "anthropic.claude-sim-v1:0", "us.anthropic.claude-sim-v1:0", ARN])
@pytest.mark.parametrize("spec", ["", SPEC])
@pytest.mark.parametrize("is_escaped", [True, False])
def test_model_ids_come_out_of_the_path_with_their_specs(model: str, spec: str, is_escaped: bool) -> None:
    """boto3 escapes all of it, AnthropicBedrock leaves colons as they are."""
    path = target("invoke", spec, model)
    path = path if is_escaped else path.replace("%3A", ":")
    call = read_call(request(path))
    assert split_model(call.model) == (model, spec)
    assert call.specs[0] == spec


@pytest.mark.parametrize(
    ("verb", "is_stream", "is_generation"),
    [
        ("invoke", False, True),
        ("invoke-with-response-stream", True, True),
        ("converse", False, True),
        ("converse-stream", True, True),
        ("count-tokens", False, False),
    ],
)
def test_the_route_tells_what_is_asked_for(verb: str, is_stream: bool, is_generation: bool) -> None:
    call = read_call(request(f"/model/m/{verb}"))
    assert (call.is_stream, call.is_generation) == (is_stream, is_generation)
    assert operation(call.request) == ("m", verb)
    assert not read_call(request(f"/model/m/{verb}", method="GET")).is_generation


@pytest.mark.parametrize("path", ["/model/m", "/model//invoke", "/model/a/b/invoke", "/model/m/invoke/", "/model/m/x"])
def test_another_path_is_no_route(path: str) -> None:
    call = read_call(request(path))
    assert (operation(call.request), call.is_generation, call.is_stream) == (("", ""), False, False)


def test_specs_come_from_model_user_label_and_header() -> None:
    body = {"metadata": {"user_id": "sim:chunks=2"}, "requestMetadata": {"sim": "chunks=3"}}
    call = read_call(request("/model/m%3Achunks%3D1/invoke", json.dumps(body).encode(), (b"x-sim", b"chunks=4")))
    assert call.specs == ("chunks=1", "chunks=2", "chunks=3", "chunks=4")


def test_the_credential_is_the_api_key_or_the_id_of_the_access_key() -> None:
    signature = b"AWS4-HMAC-SHA256 Credential=AKID/20260101/us/bedrock/aws4_request, SignedHeaders=host, Signature=0"
    for value, expected in ((b"Bearer k", "k"), (signature, "AKID"), (b"Basic k", None), (b"Bearer ", None)):
        assert read_call(request("/model/m/invoke", b"", (b"authorization", value))).credential == expected
    assert read_call(request("/model/m/invoke", b"", (b"x-api-key", b"k"))).credential is None


JSON = st.recursive(st.none() | st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3))
NAMES = st.sampled_from(
    [
        "messages",
        "system",
        "toolConfig",
        "inferenceConfig",
        "input",
        "converse",
        "invokeModel",
        "body",
        "content",
        "role",
        "text",
        "tools",
        "toolSpec",
        "toolChoice",
        "cachePoint",
        "anthropic_version",
        "requestMetadata",
        "sim",
    ]
)
DOCUMENTS = st.recursive(JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))


@given(st.binary() | DOCUMENTS.map(lambda document: json.dumps(document).encode()))
def test_any_body_can_be_read_and_is_understood_or_refused(body: bytes) -> None:
    call = read_call(request("/model/m/converse", body))
    for understand in (claude_message, converse_message, counted_message):
        with contextlib.suppress(Invalid):
            count_tokens(check_message(understand(call.document, "m"), needs_max_tokens=False))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "claude"}, "extraneous key [model]"),
        ({"stream": True}, "extraneous key [stream]"),
        ({"anthropic_version": "2023-06-01"}, "anthropic_version is not valid"),
        ({"anthropic_beta": "a,b"}, "anthropic_beta"),
        ({"anthropic_beta": [1]}, "anthropic_beta"),
    ],
)
def test_what_belongs_to_the_messages_api_is_refused_in_an_invocation(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid) as raised:
        claude_message({**CLAUDE, **change}, "m")
    assert says in raised.value.message


def test_an_invocation_needs_its_version_and_takes_both_generations() -> None:
    with pytest.raises(Invalid, match="anthropic_version"):
        claude_message({key: value for key, value in CLAUDE.items() if key != "anthropic_version"}, "m")
    made = claude_message(
        {**CLAUDE, "anthropic_version": "2026-10-21", "anthropic_beta": ["context-1m-2025-08-07"]}, "m"
    )
    assert check_message(made)["model"] == "m"


def test_a_conversation_means_the_message_that_says_the_same() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    made = converse_message(
        {
            "messages": [{"role": "user", "content": [{"text": "three words here"}]}],
            "system": [{"text": "be brief"}, {"cachePoint": {"type": "default"}}],
            "inferenceConfig": {"maxTokens": 7},
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}}],
                "toolChoice": {"tool": {"name": "weather"}},
            },
            "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        },
        "m",
    )
    assert made == {
        "model": "m",
        "max_tokens": 7,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "three words here"}]}],
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "weather", "description": "", "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "weather"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    cache = PromptCache()
    counts = [cache.count(made, "account") for _ in range(2)]
    assert counts[0].created == counts[1].read > 0
    assert count_tokens(converse_message(CONVERSE, "m")) == count_tokens(claude_message(CLAUDE, "m")) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"messages": [{"role": "system", "content": []}]},
        {"messages": [{"role": "user", "content": "text"}]},
        {"messages": [{"role": "user", "content": ["text"]}]},
        {"system": "text"},
        {"inferenceConfig": {"maxTokens": 0}},
        {"inferenceConfig": [1]},
        {"toolConfig": "tools"},
    ],
)
def test_a_conversation_of_the_wrong_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        converse_message({**CONVERSE, **change}, "m")


def test_tokens_are_counted_of_either_kind() -> None:
    body = base64.b64encode(json.dumps(CLAUDE).encode()).decode()
    for given_input in ({"invokeModel": {"body": body}}, {"converse": CONVERSE}):
        assert count_tokens(counted_message({"input": given_input}, "m")) == 6
    for bad in ({}, {"invokeModel": {"body": "%%%"}}, {"invokeModel": {}}, [], None):
        with pytest.raises(Invalid):
            counted_message({"input": bad}, "m")
