"""A stream that was cut is never taken for a complete one, wherever and however it was cut."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import trio

from tests.support.accounts import account
from tests.support.cases import case
from tests.support.raw_client import envelope_error, message, open_raw, request
from tests.support.scripted_upstream import End, open_scripted, stream
from tests.support.socket_harness import KEY, PROMPT, open_harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.raw_client import RawAnswer
    from tests.support.scripted_upstream import Play

_USAGE = {"input_tokens": 11, "output_tokens": 1, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3}
_START = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude-sim",
        "stop_reason": None, "stop_sequence": None, "usage": _USAGE,
    },
}  # fmt: skip
_EVENTS: tuple[dict[str, Any], ...] = (
    _START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "wörld"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
)
EVENTS = [f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in _EVENTS]
WHOLE = b"".join(EVENTS)
_BOUNDARIES = [sum(map(len, EVENTS[:count])) for count in range(1, len(EVENTS))]


def _inside() -> list[int]:
    """Cuts inside each event: in its first line, before its data, in its data, before its blank line."""
    found = []
    start = 0
    for event in EVENTS:
        line = event.index(b"\n")
        found += [start + 3, start + line, start + line + 1, start + line + 8, start + len(event) - 12]
        found += [start + len(event) - 2, start + len(event) - 1]
        start += len(event)
    return sorted(set(found))


CUTS = sorted({*_BOUNDARIES, *_inside()} - {len(WHOLE) - 1, len(WHOLE) - 2})
"""The last two bytes are left out: ``message_stop`` is there, only its blank line is not. See below."""


def cut_at(at: int, end: End) -> Play:
    """The stream up to ``at``; ``COMPLETE`` is an end that is right for HTTP."""
    return stream([WHOLE[:at]], end=end)


def error_of(answer: RawAnswer) -> dict[str, Any]:
    """The error that the stream's last event tells, as an SSE parser reads it."""
    events = [block for block in answer.body.split(b"\n\n") if block]
    fields = [line.split(b": ", 1) for line in events[-1].split(b"\n")]
    names = [value for name, value in (pair for pair in fields if len(pair) == 2) if name == b"event"]
    assert names[-1] == b"error", events[-1]
    return envelope_error(json.loads(fields[-1][1]), answer.request_id)


@pytest.mark.parametrize("end", End)
async def test_cut_anywhere_the_raw_stream_ends_with_our_error_and_no_terminator(end: End, folder: Path) -> None:
    """The bytes so far, one error event in Anthropic's envelope, then the connection breaks."""
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        cut: dict[str, int] = {}
        for at in CUTS:
            upstream.play = cut_at(at, end)
            with case(at):
                async with open_raw(harness.port) as client:
                    answer = await client.ask(request(message()))
                cut[answer.request_id] = at
                if at < _BOUNDARIES[0]:  # the client has seen no event: it gets a status
                    assert (answer.status, answer.error["type"]) == (502, "api_error")
                    continue
                assert answer.status == 200
                assert not answer.is_whole, "the body was ended as if it were whole"
                assert answer.ended is not None
                assert answer.body.startswith(WHOLE[:at])
                assert error_of(answer)["type"] == "api_error"
                assert answer.body.count(b"event: error") == 1
        rows = await harness.rows()
        assert len(rows) == len(cut)
        for row in rows:
            with case(cut[row["request_id"]]):
                ended = ("SH", 502) if cut[row["request_id"]] < _BOUNDARIES[0] else ("SD", 200)
                assert (row["outcome"], row["code"], row["status"]) == ("upstream_error", *ended)
                _check_usage(row, cut[row["request_id"]])


@pytest.mark.parametrize("end", End)
async def test_cut_anywhere_the_sdk_raises_and_never_returns_a_message(end: End, folder: Path) -> None:
    """Both ways in which the SDK reads a stream."""
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        with anthropic.Anthropic(base_url=harness.url, api_key=KEY, max_retries=0) as client:
            for at, read in itertools.product(CUTS[:: 1 if end is End.FIN else 3], (_helper, _plain)):
                upstream.play = cut_at(at, end)
                error = await trio.to_thread.run_sync(partial(_failure_of, client, read))
                assert isinstance(error, anthropic.APIError), f"cut at {at}, {read.__name__}: {error!r}"


async def test_cut_in_the_final_blank_line_loses_nothing(folder: Path) -> None:
    """The end was said, only its blank line is missing: the answer is complete, and nothing is added to it."""
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        for at in (len(WHOLE) - 2, len(WHOLE) - 1):
            upstream.play = cut_at(at, End.FIN)
            async with open_raw(harness.port) as client:
                answer = await client.ask(request(message()))
            assert (answer.body, answer.is_whole) == (WHOLE[:at], True)
            row = await harness.row(answer.request_id)
            assert (row["code"], row["usage_source"], row["output_tokens"]) == ("--", "exact", 9)


async def test_the_whole_stream_is_complete_so_the_cuts_are_what_fails(folder: Path) -> None:
    """The control."""
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        upstream.play = stream([WHOLE])
        for read in (_helper, _plain):
            assert await trio.to_thread.run_sync(partial(_failure, harness.url, read)) is None
        rows = await harness.rows()
        assert [(row["code"], row["usage_source"], row["total_tokens"]) for row in rows] == [("--", "exact", 25)] * 2


@pytest.mark.parametrize("at", [1, len(EVENTS[0]), _BOUNDARIES[3] + 20])
async def test_a_whole_message_cut_in_its_body_is_no_answer(at: int, folder: Path) -> None:
    """The client has seen nothing of it yet, so it gets a status."""
    body = json.dumps(_START["message"]).encode()
    at = min(at, len(body) - 1)
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        for end in (End.FIN, End.RESET):
            play = stream([body[:at]], end=end)
            upstream.play = type(play)(play.head.replace(b"text/event-stream", b"application/json"), play.pieces, end)
            async with open_raw(harness.port) as client:
                answer = await client.ask(request(message(stream=False)))
                assert (answer.status, answer.error["type"]) == (502, "api_error")
            assert (await harness.row(answer.request_id))["code"] == "SH"
            error = await trio.to_thread.run_sync(partial(_failure, harness.url, _create))
            assert isinstance(error, anthropic.APIError), repr(error)


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error", "rate_limit_error", "from_the_future"])
@pytest.mark.parametrize("end", [End.COMPLETE, End.RESET])
async def test_the_upstreams_own_error_event_passes_once_and_ends_the_stream(kind: str, end: End, folder: Path) -> None:
    """The client already has it: nothing is added, nobody else is tried, and the outcome is the upstream's fault."""
    event = {"type": "error", "error": {"type": kind, "message": "theirs"}, "request_id": "req_theirs"}
    last = f"event: error\ndata: {json.dumps(event)}\n\n".encode()
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        upstream.play = stream([*EVENTS[:4], last], end=end)
        async with open_raw(harness.port) as client:
            answer = await client.ask(request(message()))
        assert answer.body.startswith(b"".join(EVENTS[:4]) + last)
        if end is End.COMPLETE:
            assert answer.body == b"".join(EVENTS[:4]) + last
            assert answer.is_whole
        row = await harness.row(answer.request_id)
        assert (row["code"], row["status"], row["attempts"]) == ("SD", 200, 1)
        assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("partial", 11, 1)
        error = await trio.to_thread.run_sync(partial(_failure, harness.url, _helper))
        assert isinstance(error, anthropic.APIStatusError)
        assert error.status_code == 200
        assert error.body["error"] == event["error"]  # type: ignore[index]


async def test_a_cut_before_the_first_byte_is_no_stream_at_all(folder: Path) -> None:
    """The head alone commits nothing: the client gets a status, not a broken 200."""
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        for end in (End.FIN, End.RESET):
            upstream.play = stream([], end=end)
            async with open_raw(harness.port) as client:
                answer = await client.ask(request(message()))
            assert (answer.status, answer.error["type"], answer.is_whole) == (502, "api_error", True)
            assert (await harness.row(answer.request_id))["code"] == "SH"


async def test_a_stream_that_ends_before_it_begins_is_not_complete(folder: Path) -> None:
    """200, event stream, no byte, a clean end: still no message."""
    async with open_scripted() as upstream, open_harness(folder, [_one(upstream.base_url)], **_BLIND) as harness:
        upstream.play = stream([])
        async with open_raw(harness.port) as client:
            answer = await client.ask(request(message()))
        if answer.status == 200:
            assert not answer.is_whole
            assert error_of(answer)["type"] == "api_error"
        else:
            assert (answer.status, answer.error["type"]) == (502, "api_error")
        assert (await harness.row(answer.request_id))["outcome"] == "upstream_error"


# --- what the tests share -----------------------------------------------------------------------------------------

_BLIND: dict[str, dict[str, object]] = {"breaker": {"enabled": False}}
"""Fifty cuts in a row would rightly take the account out of rotation."""


def _one(base_url: str) -> dict[str, object]:
    return account("one", base_url)


def _check_usage(row: dict[str, Any], at: int) -> None:
    start, delta = _BOUNDARIES[0], _BOUNDARIES[6]
    if at < start - 2:
        assert (row["usage_source"], row["total_tokens"]) == ("none", 0)
    elif start <= at < _BOUNDARIES[5]:
        assert (row["usage_source"], row["total_tokens"]) == ("partial", 17)
    elif at >= delta:
        assert (row["usage_source"], row["total_tokens"]) == ("exact", 25)


def _failure(url: str, read: Callable[[anthropic.Anthropic], object]) -> BaseException | None:
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        return _failure_of(client, read)


def _failure_of(client: anthropic.Anthropic, read: Callable[[anthropic.Anthropic], object]) -> BaseException | None:
    try:
        read(client)
    except Exception as error:
        return error
    return None


def _asked() -> dict[str, Any]:
    return {"model": "claude-sim", "max_tokens": 99, "messages": [{"role": "user", "content": PROMPT}]}


def _helper(client: anthropic.Anthropic) -> object:
    with client.messages.stream(**_asked()) as events:
        return events.get_final_message()


def _plain(client: anthropic.Anthropic) -> object:
    with client.messages.create(stream=True, **_asked()) as events:
        return list(events)


def _create(client: anthropic.Anthropic) -> object:
    return client.messages.create(**_asked())
