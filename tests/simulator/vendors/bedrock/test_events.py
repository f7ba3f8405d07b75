"""The frames of both streams: order, layout, usage; the same text as Claude's own."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.simulator import SimulatorSettings, Usage, text_of, thinking_of
from relay_trio.simulator.plan import settle
from relay_trio.simulator.vendors.bedrock.events import METRICS, converse_frames, invoke_frames, whole_conversation
from relay_trio.simulator.vendors.claude.requests import compose
from relay_trio.simulator.vendors.claude.tokens import InputTokens
from tests.simulator.vendors.bedrock.asking import chunks, events, messages

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.script import Frame
    from relay_trio.simulator.vendors.claude.events import Composition

THINKING = {"thinking": {"type": "adaptive"}}
TOOL = {
    "tools": [{"name": "weather", "input_schema": {"properties": {"city": {"type": "string"}}}}],
    "tool_choice": {"type": "any"},
}


def composed(spec: str = "", **fields: Any) -> tuple[Composition, Plan]:
    document = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}
    plan = settle(SimulatorSettings(chunks=3, thinking_chunks=2), [spec], Random(0), draws_faults=False)
    return compose(document, plan, InputTokens(11, 22, 33)), plan


def invoked(spec: str = "", **fields: Any) -> tuple[list[Frame], list[dict[str, Any]]]:
    frames = list(invoke_frames("msg_bdrk_1", "m", *composed(spec, **fields)))
    return frames, chunks(b"".join(frame.content for frame in frames))


def conversed(spec: str = "", **fields: Any) -> tuple[list[Frame], list[tuple[str, dict[str, Any]]]]:
    frames = list(converse_frames(*composed(spec, **fields)))
    return frames, events(b"".join(frame.content for frame in frames))


def usages(frames: list[Frame]) -> list[Usage]:
    return [frame.usage for frame in frames if frame.usage is not None]


def test_an_invocation_streams_claudes_events_without_ping_and_with_metrics_at_the_end() -> None:
    frames, documents = invoked(**THINKING)
    assert [document["type"] for document in documents] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert documents[-1][METRICS] == {
        "inputTokenCount": 11,
        "outputTokenCount": 5,
        "cacheReadInputTokenCount": 33,
        "cacheWriteInputTokenCount": 22,
        "invocationLatency": 0,
        "firstByteLatency": 0,
    }
    assert [frame.is_last for frame in frames].index(True) == len(frames) - 1
    assert sum(frame.tokens for frame in frames) == sum(frame.is_paced for frame in frames) == 5
    assert usages(frames) == [Usage(11, 1, 22, 33), Usage(11, 5, 22, 33), Usage(11, 5, 22, 33)]


def test_a_conversation_streams_bedrocks_events_and_tells_usage_once() -> None:
    frames, found = conversed(**THINKING)
    assert [kind for kind, _ in found] == [
        "messageStart",
        *["contentBlockDelta"] * 3,
        "contentBlockStop",
        *["contentBlockDelta"] * 3,
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    deltas = [(document["contentBlockIndex"], document["delta"]) for kind, document in found if "Delta" in kind]
    assert "".join(delta["reasoningContent"].get("text", "") for at, delta in deltas if at == 0) == thinking_of(2)
    assert deltas[2][1]["reasoningContent"]["signature"]
    assert "".join(delta["text"] for at, delta in deltas if at == 1) == text_of(3)
    assert found[-2][1] == {"stopReason": "end_turn"}
    assert found[-1][1]["usage"] == {
        "inputTokens": 11,
        "outputTokens": 5,
        "totalTokens": 71,
        "cacheReadInputTokens": 33,
        "cacheReadInputTokenCount": 33,
        "cacheWriteInputTokens": 22,
        "cacheWriteInputTokenCount": 22,
        "serverToolUsage": {},
    }
    assert usages(frames) == [Usage(11, 5, 22, 33)]
    assert [frame.is_last for frame in frames].index(True) == len(frames) - 1
    assert sum(frame.tokens for frame in frames) == 5


def test_a_tool_is_called_in_pieces_of_valid_json() -> None:
    _, found = conversed(**TOOL)
    start = next(document for kind, document in found if kind == "contentBlockStart")
    assert start["start"]["toolUse"]["name"] == "weather"
    pieces = [document["delta"]["toolUse"]["input"] for kind, document in found if kind == "contentBlockDelta"]
    whole = json.loads(whole_conversation(*composed(**TOOL)))
    (block,) = whole["output"]["message"]["content"]
    assert json.loads("".join(pieces)) == block["toolUse"]["input"]
    assert block["toolUse"]["toolUseId"] == start["start"]["toolUse"]["toolUseId"]
    assert dict(found)["messageStop"]["stopReason"] == whole["stopReason"] == "tool_use"


def test_a_whole_conversation_says_what_the_stream_says() -> None:
    _, found = conversed(**THINKING)
    whole = json.loads(whole_conversation(*composed(**THINKING)))
    thought, text = whole["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"]["text"] == thinking_of(2)
    assert (text, whole["usage"]) == ({"text": text_of(3)}, found[-1][1]["usage"])


def test_each_frame_is_one_event_and_most_are_padded() -> None:
    for frames in (invoked("chunks=50")[0], conversed("chunks=50")[0]):
        payloads = [json.loads(messages(frame.content)[0][1]) for frame in frames]
        assert len(payloads) == len(frames)
        assert all(list(payload) == sorted(payload) for payload in payloads)
        padded = [payload["p"] for payload in payloads if "p" in payload]
        assert len(padded) > len(payloads) * 0.8
        assert all("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345".startswith(text) for text in padded)
        for frame in frames:
            assert frame.chunk == b"%x\r\n" % len(frame.content) + frame.content + b"\r\n"


@pytest.mark.parametrize(
    ("usage", "value"), [("null", None), ("negative", -5), ("huge", 1e300), ("string", "many"), ("missing", ...)]
)
def test_nonsense_for_usage_tells_nothing(usage: str, value: object) -> None:
    frames, documents = invoked(f"usage={usage}")
    assert usages(frames) == []
    assert documents[-1].get(METRICS, {"inputTokenCount": ...})["inputTokenCount"] == value
    frames, found = conversed(f"usage={usage}")
    assert usages(frames) == []
    for reported in (found[-1][1], json.loads(whole_conversation(*composed(f"usage={usage}")))):
        counts = reported.get("usage", dict.fromkeys(("inputTokens", "totalTokens", "cacheReadInputTokens"), ...))
        assert {counts[name] for name in ("inputTokens", "totalTokens", "cacheReadInputTokens")} == {value}


def test_input_that_changes_at_the_end_changes_in_all_places() -> None:
    frames, documents = invoked("delta_input=99,delta_usage=output")
    assert documents[-1][METRICS]["inputTokenCount"] == documents[-2]["usage"]["input_tokens"] == 99
    assert usages(frames)[-1] == usages(conversed("delta_input=99")[0])[0] == Usage(99, 3, 22, 33)


def test_latency_is_that_of_the_plan() -> None:
    _, documents = invoked("delay=0.2,pace=0.1")
    assert (documents[-1][METRICS]["firstByteLatency"], documents[-1][METRICS]["invocationLatency"]) == (200, 500)
    _, found = conversed("delay=0.2,pace=0.1")
    assert found[-1][1]["metrics"] == {"latencyMs": 500}


@pytest.mark.parametrize("kind", ["invoke-with-response-stream", "converse-stream"])
def test_recordings_hold_no_event_or_field_that_is_laid_out_otherwise(corpus: Path, kind: str) -> None:
    """Same headers in the same order, same fields, for every event that recordings and simulator both have."""
    made = {"invoke-with-response-stream": invoked(**THINKING)[0], "converse-stream": conversed(**TOOL)[0]}[kind]
    ours = {key: fields for frame in made for key, fields in [_shape(frame.content)]}
    theirs: dict[Any, set[str]] = {}
    for path in sorted((corpus / "recordings" / "bedrock").glob(f"{kind}-*.body")):
        for headers, payload in messages(path.read_bytes()):
            key, fields = _described(headers, payload)
            theirs.setdefault(key, set()).update(fields)
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 5
    for key in shared:
        assert ours[key] <= theirs[key] | {"p", METRICS}, key


def _shape(content: bytes) -> tuple[Any, set[str]]:
    ((headers, payload),) = messages(content)
    return _described(headers, payload)


def _described(headers: dict[str, str], payload: bytes) -> tuple[Any, set[str]]:
    document = json.loads(payload)
    inner = json.loads(base64.b64decode(document["bytes"])) if "bytes" in document else document
    return (tuple(headers), headers[":event-type"], inner.get("type")), {*document, *inner}
