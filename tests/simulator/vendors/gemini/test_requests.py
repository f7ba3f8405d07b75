"""Paths, credentials, counts and compositions; the checks are in ``test_gemini``, over the wire."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.plan import settle
from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.gemini.requests import (
    compose,
    count_tokens,
    is_array,
    is_ours,
    read_call,
    read_credential,
    read_target,
)

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.simulator.vendors.gemini.events import Composition


def request(target: str, *headers: tuple[bytes, bytes], method: str = "POST", body: bytes = b"") -> Request:
    return Request(method, target.encode(), list(headers), body, True)


# --- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_a_model_and_its_spec_stand_before_the_verb(version: str) -> None:
    target = read_target(request(f"/{version}/models/gemini-sim:chunks=5,fault=429:7:generateContent?key=k"))
    assert target is not None
    assert (target.model, target.verb, target.name) == (
        "gemini-sim:chunks=5,fault=429:7",
        "generateContent",
        target.name,
    )
    assert (target.name, target.resource, target.is_vertex) == ("gemini-sim", "models/gemini-sim", False)


@pytest.mark.parametrize(
    "scope", ["v1/projects/p/locations/l/publishers/google/", "v1beta1/publishers/google/", "v1/publishers/google/"]
)
def test_vertex_has_a_scope_before_the_model(scope: str) -> None:
    made = request(f"/{scope}models/gemini%2Dsim%3Afault%3Derror_event%3A3%2FINTERNAL:streamGenerateContent")
    target = read_target(made)
    assert target is not None
    assert (target.name, target.model, target.is_vertex) == (
        "gemini-sim",
        "gemini-sim:fault=error_event:3/INTERNAL",
        True,
    )
    assert read_call(made).specs[0] == "fault=error_event:3/INTERNAL"
    assert read_call(made).is_stream
    assert read_call(made).is_generation


def test_every_recorded_path_is_ours(corpus: Path) -> None:
    """But for uploads and predictions, which are not of this API."""
    seen = set()
    for row in json.loads((corpus / "recordings" / "INDEX.json").read_text()):
        provider = row["name"].partition("/")[0]
        if provider in {"gemini", "vertex"} and row["path"].startswith("/v1"):
            assert is_ours(request(row["path"])), row["path"]
            target = read_target(request(row["path"]))
            assert target is not None
            seen.add(target.verb)
        elif provider in {"anthropic", "bedrock"}:
            assert not is_ours(request(row["path"])), row["path"]
    assert {"generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"} <= seen


@pytest.mark.parametrize(
    ("target", "header", "expected"),
    [
        ("/v1/models", b"x-goog-api-key", True),
        ("/v1/models?key=k", b"accept", True),
        ("/v1/models/m", b"x-goog-api-key", True),
        ("/v1/models", b"x-api-key", False),
        ("/v1/models/m", b"authorization", False),
        ("/v1beta/models", b"authorization", True),
        ("/v1beta/cachedContents", b"authorization", True),
        ("/v1/messages", b"x-goog-api-key", False),
        ("/v1beta1/publishers/google/models", b"x-goog-api-key", True),
        ("/v1/publishers/anthropic/models/m:rawPredict", b"x-goog-api-key", False),
    ],
)
def test_the_list_of_models_goes_by_the_credential(target: str, header: bytes, expected: bool) -> None:
    assert is_ours(request(target, (header, b"k"), method="GET")) == expected


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("streamGenerateContent", True),
        ("streamGenerateContent?alt=json", True),
        ("streamGenerateContent?alt=sse", False),
        ("streamGenerateContent?key=k&%24alt=sse", False),
        ("generateContent", False),
    ],
)
def test_a_stream_without_alt_sse_is_an_array(rest: str, expected: bool) -> None:
    assert is_array(request(f"/v1beta/models/m:{rest}")) == expected


def test_a_credential_is_a_key_or_a_token() -> None:
    path = "/v1beta/models/m:generateContent"
    assert read_credential(request(path, (b"x-goog-api-key", b"a"), (b"authorization", b"Bearer b"))) == ("key", "a")
    assert read_credential(request(f"{path}?key=a%2Fb", (b"authorization", b"Bearer b"))) == ("key", "a/b")
    assert read_credential(request(path, (b"authorization", b"Bearer b"))) == ("token", "b")
    assert read_credential(request(path, (b"x-api-key", b"claude's"))) == ("", None)


@given(st.binary(), st.text())
def test_anything_can_be_read(body: bytes, path: str) -> None:
    made = request("/v1beta/models/" + path, body=body)
    call = read_call(made)
    assert call.document is None or isinstance(call.document, dict)
    assert isinstance(is_ours(made), bool)


# --- composing ----------------------------------------------------------------------------------------------------


def made(spec: str = "", **fields: Any) -> Composition:
    document = {"contents": [{"role": "user", "parts": [{"text": "three words here"}]}], **fields}
    plan = settle(SimulatorSettings(chunks=5, thinking_chunks=3), [spec], Random(0), draws_faults=False)
    return compose(document, plan)


def test_words_of_all_that_the_model_reads_are_counted() -> None:
    contents = [{"role": "user", "parts": [{"text": "three words here"}, {"text": "two more"}]}]
    assert count_tokens({"contents": contents}) == 9
    assert count_tokens({"contents": contents, "systemInstruction": {"parts": [{"text": "be brief"}]}}) == 13
    assert count_tokens({"contents": contents, "system_instruction": {"parts": {"text": "be brief"}}}) == 13
    assert count_tokens({}) == 0


def test_the_model_thinks_when_the_request_speaks_of_it() -> None:
    assert made().steps == 5
    shown = made(generationConfig={"thinkingConfig": {"includeThoughts": True}})
    hidden = made(generation_config={"thinking_config": {"thinking_budget": 10}})
    off = made(generationConfig={"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 0}})
    assert (shown.thoughts, shown.hidden_thoughts) == (3, 0)
    assert (hidden.thoughts, hidden.hidden_thoughts) == (0, 3)
    assert (off.thoughts, off.hidden_thoughts) == (0, 0)


@given(limit=st.integers(1, 60), chunks=st.integers(0, 80), thinking=st.integers(0, 80), tokens=st.integers(1, 7))
def test_the_deltas_stay_below_the_limit(limit: int, chunks: int, thinking: int, tokens: int) -> None:
    config = {"maxOutputTokens": limit, "thinkingConfig": {}}
    composed = made(f"chunks={chunks},thinking={thinking},tokens={tokens}", generationConfig=config)
    assert 1 <= composed.steps <= max(1, limit // tokens)
    assert composed.text >= 1
    assert (composed.finish_reason == "STOP") == (composed.text == max(1, chunks))


def test_cached_tokens_are_inside_the_prompt_and_those_of_tools_outside() -> None:
    composed = made(cachedContent="cachedContents/x", tools=[{"codeExecution": {}}])
    assert composed.prompt == composed.cached + 7
    assert composed.tool_use > 0
    given = made("input=10,cache_read=4,delta_input=30")
    assert (given.prompt, given.cached, given.end_prompt) == (14, 4, 34)
    assert made("delta_input=3", tools=[{"google_search": {}}]).end_prompt == 0


def test_a_forced_call_fits_the_schema_of_the_allowed_function() -> None:
    schema = {"type": "OBJECT", "properties": {"days": {"type": "INTEGER"}}}
    functions = [{"name": "other"}, {"name": "weather", "parameters": schema}]
    calling = {"mode": "ANY", "allowedFunctionNames": ["weather"]}
    tools = [{"functionDeclarations": functions}]
    forced = made(tools=tools, toolConfig={"functionCallingConfig": calling})
    assert forced.call == {"name": "weather", "args": {"days": 42}}
    calling = {"mode": "any"}
    assert made(tools=tools, tool_config={"function_calling_config": calling}).call == {"name": "other", "args": {}}
    assert made(tools=tools).call is None
