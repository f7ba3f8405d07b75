"""The events of one message: order, layout, usage."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from relay_trio.simulator import SimulatorSettings, text_of
from relay_trio.simulator.plan import settle
from relay_trio.simulator.vendors.claude.events import stream_frames, whole_message
from relay_trio.simulator.vendors.claude.requests import compose
from relay_trio.simulator.vendors.claude.tokens import InputTokens
from relay_trio.wire.sse import EventBlocks, parse_block


def made(spec: str, **fields: Any) -> tuple[list[Any], list[tuple[str, Any]], Any]:
    """Frames, parsed events, and the whole message of one request."""
    document = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}
    plan = settle(SimulatorSettings(chunks=3, thinking_chunks=2), [spec], Random(0), draws_faults=False)
    composition = compose(document, plan, InputTokens(11, 22, 33))
    frames = list(stream_frames("msg_1", "m", composition, plan))
    blocks = EventBlocks().feed(b"".join(frame.content for frame in frames))
    events = [event for event in map(parse_block, blocks) if event is not None]
    whole = json.loads(whole_message("msg_1", "m", composition, plan))
    return frames, [(event.event, json.loads(event.data)) for event in events], whole


def test_the_order_is_that_of_recorded_streams() -> None:
    _, events, whole = made("", thinking={"type": "adaptive"})
    assert [name for name, _ in events] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [data["delta"]["type"] for name, data in events if name == "content_block_delta"] == [
        *["thinking_delta"] * 2,
        "signature_delta",
        *["text_delta"] * 3,
    ]
    assert all(data["type"] == name for name, data in events)
    assert [block["type"] for block in whole["content"]] == ["thinking", "text"]


def test_each_frame_is_one_event_and_its_chunk_is_http_framing() -> None:
    frames, events, _ = made("")
    assert len(frames) == len(events)
    for frame in frames:
        assert frame.content.startswith(b"event: ")
        assert frame.content.endswith(b"\n\n")
        assert frame.content.count(b"\n\n") == 1
        assert frame.chunk == b"%x\r\n" % len(frame.content) + frame.content + b"\r\n"
    assert [frame.is_last for frame in frames].index(True) == len(frames) - 1
    assert any(b"  }" in frame.content for frame in frames), "some events hold padding, as recorded ones do"


@pytest.mark.parametrize("usage", ["normal", "decreasing"])
def test_the_frames_tell_the_usage_that_their_bytes_hold(usage: str) -> None:
    frames, events, whole = made(f"usage={usage},delta_input=99")
    start, end = [frame.usage for frame in frames if frame.usage is not None]
    reported = events[0][1]["message"]["usage"]
    assert (start.input_tokens, start.output_tokens) == (reported["input_tokens"], reported["output_tokens"])
    assert (start.cache_creation_tokens, start.cache_read_tokens) == (22, 33)
    reported = events[-2][1]["usage"]
    assert (end.input_tokens, end.output_tokens) == (reported["input_tokens"], reported["output_tokens"]) == (99, 3)
    assert (start.output_tokens > end.output_tokens) == (usage == "decreasing")
    assert whole["usage"]["input_tokens"] == 99


@pytest.mark.parametrize(
    ("usage", "value"), [("null", None), ("negative", -5), ("huge", 1e300), ("string", "many"), ("missing", ...)]
)
def test_nonsense_for_usage_tells_nothing(usage: str, value: object) -> None:
    frames, events, whole = made(f"usage={usage}")
    assert {frame.usage for frame in frames} == {None}
    for holder in (events[0][1]["message"], events[-2][1], whole):
        assert holder.get("usage", {"input_tokens": ...})["input_tokens"] == value


def test_the_end_may_tell_the_output_only() -> None:
    _, events, _ = made("delta_usage=output")
    assert events[-2][1]["usage"] == {"output_tokens": 3}


def test_deltas_make_the_settled_text_of_the_settled_size() -> None:
    _, events, whole = made("chunks=90,chars=17")
    texts = [data["delta"]["text"] for name, data in events if name == "content_block_delta"]
    assert {len(text) for text in texts} == {17}
    assert "".join(texts) == whole["content"][0]["text"] == text_of(90, 17)
