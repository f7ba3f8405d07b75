"""The chunks of one answer and its whole body: order, layout, usage."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.simulator import SimulatorSettings, Usage, text_of, thinking_of
from relay_trio.simulator.plan import settle
from relay_trio.simulator.vendors.gemini.events import Source, stream_chunks, whole_answer
from relay_trio.simulator.vendors.gemini.requests import compose

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.simulator.vendors.gemini.events import Chunk

THINKS: dict[str, Any] = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
HIDES: dict[str, Any] = {"generationConfig": {"thinkingConfig": {}}}
TOOL: dict[str, Any] = {
    "tools": [{"functionDeclarations": [{"name": "weather", "parameters": {"type": "OBJECT"}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
}


def made(
    spec: str = "", *, is_vertex: bool = False, **fields: Any
) -> tuple[list[Chunk], list[dict[str, Any]], dict[str, Any], Usage | None]:
    """Chunks, the JSON in them, the whole answer and its usage."""
    document = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **fields}
    settings = SimulatorSettings(chunks=3, thinking_chunks=2, input_tokens=11)
    plan = settle(settings, [spec], Random(0), draws_faults=False)
    source = Source("gemini-sim", "id-1", is_vertex)
    composition = compose(document, plan)
    chunks = list(stream_chunks(composition, plan, source))
    whole, usage = whole_answer(composition, plan, source)
    return chunks, [json.loads(chunk.text) for chunk in chunks], whole, usage


def fold(usage: dict[str, Any]) -> Usage:
    """As PROTOCOLS section 4 says, written again: the newest snapshot, thoughts outside, cached inside."""
    cached = usage.get("cachedContentTokenCount", 0)
    output = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    return Usage(usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0) - cached, output, 0, cached)


def parts(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document["candidates"][0]["content"]["parts"])


def test_text_comes_in_deltas_and_the_last_has_the_finish_reason() -> None:
    chunks, documents, whole, _ = made("chunks=4,chars=9")
    assert "".join(parts(document)[0]["text"] for document in documents) == text_of(4, 9)
    assert parts(whole) == [{"text": text_of(4, 9)}]
    assert [document["candidates"][0].get("finishReason") for document in documents] == [None] * 3 + ["STOP"]
    assert [chunk.is_last for chunk in chunks] == [False] * 3 + [True]
    assert {chunk.tokens for chunk in chunks} == {1}
    assert {document["responseId"] for document in documents} == {whole["responseId"]} == {"id-1"}


@pytest.mark.parametrize(
    ("name", "is_vertex", "fields", "spec"),
    [
        ("gemini/sse-011", False, THINKS, ""),
        ("gemini/sse-017", False, HIDES, "chunks=1"),
        ("gemini/sse-001", False, TOOL | HIDES, ""),
        ("gemini/sse-009", False, HIDES | {"tools": [{"codeExecution": {}}]}, ""),
        ("vertex/sse-001", True, HIDES, ""),
    ],
)
def test_the_fields_are_those_of_a_recorded_stream(
    corpus: Path, name: str, is_vertex: bool, fields: dict[str, Any], spec: str
) -> None:
    """Of the last chunk and of usage, in the recorded order, as far as we have them."""
    body = (corpus / "recordings" / f"{name}.body").read_bytes()
    recorded = json.loads(body.split(b"\r\n\r\n")[-2].removeprefix(b"data: "))
    _, documents, _, _ = made(spec, is_vertex=is_vertex, **fields)
    last = documents[-1]
    assert list(last) == list(recorded)
    assert list(last["candidates"][0]) == [key for key in recorded["candidates"][0] if key != "groundingMetadata"]
    assert list(last["candidates"][0]["content"]) == list(recorded["candidates"][0]["content"])
    assert last["usageMetadata"].keys() <= recorded["usageMetadata"].keys()
    assert fold(last["usageMetadata"]).output_tokens > 0


def test_thoughts_come_first_are_signed_and_counted_outside_the_candidates() -> None:
    chunks, documents, whole, usage = made("tokens=2", **THINKS)
    assert [parts(document)[0].get("thought") for document in documents] == [True, True, None, None, None]
    assert ["thoughtSignature" in parts(document)[0] for document in documents] == [False, False, True, False, False]
    assert parts(whole)[0] == {"text": thinking_of(2), "thought": True}
    counts = documents[-1]["usageMetadata"]
    assert (counts["promptTokenCount"], counts["candidatesTokenCount"], counts["thoughtsTokenCount"]) == (
        11,
        6,
        4,
    )
    assert counts["totalTokenCount"] == 21
    assert usage == chunks[-1].usage == Usage(11, 10)
    assert sum(chunk.tokens for chunk in chunks) == 10


def test_hidden_thoughts_are_counted_and_generated_before_the_first_chunk() -> None:
    chunks, documents, whole, _ = made(**HIDES)
    assert [chunk.tokens for chunk in chunks] == [3, 1, 1]
    assert {document["usageMetadata"]["thoughtsTokenCount"] for document in documents} == {2}
    assert "thoughtSignature" in parts(whole)[0]


def test_a_call_comes_in_one_piece_before_an_empty_end() -> None:
    chunks, documents, whole, usage = made("chunks=9", **TOOL)
    assert [parts(document) for document in documents] == [
        [{"functionCall": {"name": "weather", "args": {}}}],
        [{"text": ""}],
    ]
    assert parts(whole) == parts(documents[0])
    assert [(chunk.is_paced, chunk.tokens, chunk.is_last) for chunk in chunks] == [(True, 9, False), (False, 0, True)]
    assert usage == chunks[0].usage == chunks[1].usage == Usage(11, 9)


@pytest.mark.parametrize("fields", [{}, THINKS, HIDES, TOOL, {"tools": [{"urlContext": {}}]}])
@pytest.mark.parametrize("spec", ["", "usage=decreasing", "delta_input=3", "cache_read=5", "delta_usage=thoughts"])
def test_every_chunk_tells_the_usage_that_its_bytes_hold(spec: str, fields: dict[str, Any]) -> None:
    chunks, documents, whole, usage = made(spec, **fields)
    for chunk, document in zip(chunks, documents, strict=True):
        counts = document["usageMetadata"]
        assert chunk.usage == fold(counts)
        assert counts["totalTokenCount"] == chunk.usage.total_tokens
    assert usage == fold(whole["usageMetadata"]) == chunks[-1].usage


def test_the_counts_run_with_the_text_unless_they_shall_decrease() -> None:
    running = [document["usageMetadata"]["candidatesTokenCount"] for document in made()[1]]
    receding = [document["usageMetadata"]["candidatesTokenCount"] for document in made("usage=decreasing")[1]]
    assert running == [1, 2, 3]
    assert receding[-1] == 3 < min(receding[:-1])


def test_the_end_may_change_the_prompt_or_leave_the_visible_output_out() -> None:
    prompts = [document["usageMetadata"]["promptTokenCount"] for document in made("input=15,delta_input=13")[1]]
    assert prompts == [15, 15, 13]
    chunks, documents, _, _ = made("delta_usage=thoughts", **HIDES)
    assert "candidatesTokenCount" not in documents[-1]["usageMetadata"]
    assert chunks[-1].usage == Usage(11, 2)


def test_a_tool_of_googles_adds_to_the_prompt_after_the_first_chunk() -> None:
    chunks, documents, _, _ = made(tools=[{"codeExecution": {}}])
    assert ["toolUsePromptTokenCount" in document["usageMetadata"] for document in documents] == [False, True, True]
    assert [chunk.usage.input_tokens > 11 for chunk in chunks if chunk.usage] == [False, True, True]


def test_vertex_counts_in_the_last_chunk_only() -> None:
    chunks, documents, whole, usage = made("cache_read=4", is_vertex=True)
    assert [document["usageMetadata"] for document in documents[:-1]] == [{"trafficType": "ON_DEMAND"}] * 2
    assert [chunk.usage for chunk in chunks] == [None, None, Usage(11, 3, 0, 4)]
    assert documents[-1]["usageMetadata"]["trafficType"] == "ON_DEMAND"
    assert usage == Usage(11, 3, 0, 4)
    assert whole["createTime"]


@pytest.mark.parametrize("is_vertex", [False, True])
@pytest.mark.parametrize(
    ("usage", "value"), [("null", None), ("negative", -5), ("huge", 1e300), ("string", "many"), ("missing", ...)]
)
def test_nonsense_for_usage_tells_nothing(usage: str, value: object, is_vertex: bool) -> None:
    chunks, documents, whole, counts = made(f"usage={usage}", is_vertex=is_vertex)
    assert {chunk.usage for chunk in chunks} == {counts} == {None}
    for document in (documents[-1], whole):
        assert document.get("usageMetadata", {"promptTokenCount": ...})["promptTokenCount"] == value
