"""Bedrock's streams on real sockets: what is recorded arrives as it was sent, and what was cut never looks complete."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import botocore.exceptions
import pytest
import trio
import urllib3.exceptions
from botocore.eventstream import EventStreamBuffer

from tests.support.accounts import bedrock_account
from tests.support.aws_clients import aws_client, claude_client, client_pair, events_of
from tests.support.bedrock_frames import CLAUDE, CONVERSE, chunk, exception
from tests.support.cases import case
from tests.support.raw_client import message, open_raw, request
from tests.support.scripted_upstream import End, Play, chunked, open_scripted
from tests.support.socket_harness import PROMPT, open_harness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.raw_client import RawAnswer

HEADERS = [("content-type", "application/vnd.amazon.eventstream"), ("x-amzn-bedrock-content-type", "application/json")]
MODEL = "anthropic.claude-sim-v1:0"
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []}).encode()
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": {}}
EVENTS: list[Any] = [
    {"type": "message_start", "message": MESSAGE | {"usage": {"input_tokens": 10, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]
INVOKE = [chunk(event) for event in EVENTS]


def event_stream(pieces: Sequence[bytes], end: End = End.COMPLETE) -> Play:
    return chunked(pieces, headers=HEADERS, end=end)


# --- recordings ---------------------------------------------------------------------------------------------------


RAISED = (botocore.exceptions.ClientError, urllib3.exceptions.HTTPError)
"""Before the first frame a status, between frames our exception frame (an ``EventStreamError`` is a ``ClientError``);
inside one the broken connection, as boto3's HTTP library names it."""

# --- cut streams --------------------------------------------------------------------------------------------------


def points(frames: list[bytes]) -> list[int]:
    """Every edge between frames, and places inside each: prelude, headers, payload, checksum."""
    edges = list(itertools.accumulate(map(len, frames)))
    inside = [
        start + at for start, frame in zip([0, *edges], frames, strict=False) for at in (4, 11, 40, len(frame) - 2)
    ]
    return sorted({*edges[:-1], *inside})


def invoke_stream(client: Any) -> list[Any]:
    answer = client.invoke_model_with_response_stream(modelId=MODEL, body=BODY)
    return [json.loads(event["chunk"]["bytes"]) for event in events_of(answer["body"])]


def converse_stream(client: Any) -> list[Any]:
    answer = client.converse_stream(modelId=MODEL, messages=[{"role": "user", "content": [{"text": PROMPT}]}])
    return events_of(answer["stream"])


def failure_of(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        return error.with_traceback(None)  # whose frames would keep the broken connection
    return None


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize(
    ("call", "frames"), [(invoke_stream, INVOKE), (converse_stream, CONVERSE)], ids=["invoke", "converse"]
)
async def test_a_cut_native_stream_raises_in_boto3(call: Any, frames: list[bytes], end: End, folder: Path) -> None:
    """At every edge of a frame, where boto3 by itself notices nothing, and inside each."""
    whole = b"".join(frames)
    async with open_scripted() as upstream:
        async with open_harness(
            folder, [bedrock_account("one", upstream.base_url)], breaker={"enabled": False}
        ) as harness:
            with aws_client(harness.url, await client_pair(harness)) as client:
                upstream.play = event_stream([whole])
                assert len(await trio.to_thread.run_sync(call, client)) == len(frames), "the control"
                for at in points(frames):
                    upstream.play = event_stream([whole[:at]], end)
                    with case(at):
                        error = await trio.to_thread.run_sync(failure_of, partial(call, client))
                        assert isinstance(error, RAISED), repr(error)
            rows = await harness.rows()
            assert {row["code"] for row in rows[1:]} == {"SH", "SD"}, "before the first frame, and after it"


@pytest.mark.parametrize("end", End)
async def test_a_cut_translated_stream_raises_in_claudes_client(end: End, folder: Path) -> None:
    whole = b"".join(INVOKE)
    async with open_scripted() as upstream:
        account = bedrock_account("one", upstream.base_url, models=["*"])
        async with open_harness(folder, [account], breaker={"enabled": False}) as harness:
            with claude_client(harness) as client:
                upstream.play = event_stream([whole])
                assert await trio.to_thread.run_sync(failure_of, partial(_final, client)) is None, "the control"
                for at in points(INVOKE):
                    upstream.play = event_stream([whole[:at]], end)
                    with case(at):
                        for read in (_final, _plain):
                            error = await trio.to_thread.run_sync(failure_of, partial(read, client))
                            assert isinstance(error, anthropic.APIError), repr(error)
            rows = await harness.rows()
            assert {row["code"] for row in rows[1:]} == {"SH", "SD"}, "before the first frame, and after it"


def _final(client: anthropic.Anthropic) -> object:
    with client.messages.stream(model=MODEL, max_tokens=9, messages=[{"role": "user", "content": PROMPT}]) as events:
        return events.get_final_message()


def _plain(client: anthropic.Anthropic) -> object:
    messages: Any = [{"role": "user", "content": PROMPT}]
    with client.messages.create(model=MODEL, max_tokens=9, messages=messages, stream=True) as events:
        return list(events)


# --- the wire -----------------------------------------------------------------------------------------------------


async def ask(port: int, target: str, body: bytes = BODY) -> RawAnswer:
    async with open_raw(port) as client:
        return await client.ask(request(body, target=target))


@pytest.mark.parametrize("call", ["invoke-with-response-stream", "converse-stream"])
async def test_a_stream_that_dies_between_frames_gets_an_exception_and_no_end(call: str, folder: Path) -> None:
    """boto3's own parser reads the frame; the framing is left open all the same."""
    frames = CLAUDE if call.startswith("invoke") else CONVERSE
    async with open_scripted() as upstream:
        async with open_harness(
            folder, [bedrock_account("one", upstream.base_url)], breaker={"enabled": False}
        ) as harness:
            for end in End:
                upstream.play = event_stream(frames[:2], end)
                answer = await ask(harness.port, f"/model/{MODEL}/{call}")
                assert answer.body.startswith(b"".join(frames[:2]))
                assert not answer.is_whole
                buffer = EventStreamBuffer()
                buffer.add_data(answer.body)
                assert list(buffer)[-1].headers[":exception-type"] == "modelStreamErrorException"


async def test_the_upstreams_own_exception_passes_once_and_the_stream_ends_as_it_did(folder: Path) -> None:
    frames = [*CLAUDE[:2], exception("throttlingException")]
    async with open_scripted() as upstream:
        async with open_harness(
            folder, [bedrock_account("one", upstream.base_url)], breaker={"enabled": False}
        ) as harness:
            upstream.play = event_stream(frames)
            answer = await ask(harness.port, f"/model/{MODEL}/invoke-with-response-stream")
            assert (answer.body, answer.is_whole) == (b"".join(frames), True)
            row = await harness.row()
            assert (row["outcome"], row["code"]) == ("upstream_rate_limited", "SD")
            assert (row["usage_source"], row["input_tokens"]) == ("partial", 10)


async def test_an_exception_in_a_translated_stream_is_told_at_once(folder: Path) -> None:
    """Also when the upstream goes on after it."""
    frames = [*INVOKE[:2], exception("modelStreamErrorException"), *INVOKE[2:]]
    async with open_scripted() as upstream:
        account = bedrock_account("one", upstream.base_url, models=["*"])
        async with open_harness(folder, [account], breaker={"enabled": False}) as harness:
            for pieces in ([b"".join(frames)], frames):
                upstream.play = event_stream(pieces)
                answer = await ask(harness.port, "/v1/messages", message(MODEL))
                assert not answer.is_whole
                assert answer.body.count(b"event: error\n") == 1
                assert b"content_block_delta" not in answer.body
                row = await harness.row(answer.request_id)
                assert (row["outcome"], row["code"]) == ("upstream_error", "SD")
