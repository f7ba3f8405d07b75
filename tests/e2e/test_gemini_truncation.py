"""A stream of Gemini's that was cut is never taken for a complete one, wherever and however it was cut."""

from __future__ import annotations

import http.client
import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from google.genai import errors

from relay_trio.wire.json_array import JsonArrayElements
from tests.support.accounts import gemini_account
from tests.support.cases import case
from tests.support.gemini_answers import ARRAY, CHUNKS, ERROR, EVENTS, event, pretty
from tests.support.google_clients import CONTENTS, google_client
from tests.support.raw_client import open_raw, request
from tests.support.scripted_upstream import End, chunked, open_scripted
from tests.support.socket_harness import KEY, open_harness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from google import genai

    from tests.support.raw_client import RawAnswer
    from tests.support.scripted_upstream import Play

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:google")

SSE = "/v1beta/models/g:streamGenerateContent?alt=sse"
PLAIN = "/v1beta/models/g:streamGenerateContent"
BODY = json.dumps({"contents": CONTENTS}).encode()
USAGE_AFTER = (("none", 0), ("partial", 11), ("partial", 14))
"""By the number of events that were seen."""

_BLIND: dict[str, dict[str, object]] = {"breaker": {"enabled": False}}


def cuts_of(pieces: Sequence[bytes], *, last: int) -> list[int]:
    """Every boundary, and places inside of each piece; ``last`` bytes at the end are not missed when they are gone."""
    found: set[int] = set()
    start = 0
    for piece in pieces:
        found |= {start, start + 1, start + 3, start + 7, start + len(piece) // 2}
        found |= {start + len(piece) - back for back in (1, 2, 3, 4, 5)}
        start += len(piece)
    return sorted(at for at in found if 0 < at < start - last)


EVENT_CUTS = cuts_of(EVENTS, last=4)
ARRAY_CUTS = cuts_of(ARRAY, last=2)


def play(whole: bytes, at: int, end: End, kind: str = "text/event-stream") -> Play:
    return chunked([whole[:at]], headers=[("content-type", kind)], end=end)


def error_of(answer: RawAnswer, sent: bytes) -> dict[str, Any]:
    """The error after ``sent``, which is lines of JSON and nothing else."""
    assert answer.body.startswith(sent)
    error: dict[str, Any] = json.loads(answer.body.removeprefix(sent).lstrip(b",[\n"))["error"]
    assert error["details"][0]["requestId"] == answer.request_id
    return error


# --- server-sent events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", End)
async def test_events_cut_anywhere_end_with_our_error_and_no_terminator(end: End, folder: Path) -> None:
    """The bytes so far, lines of JSON without ``data:`` as Google's own, then the connection breaks."""
    whole = b"".join(EVENTS)
    ends = list(itertools.accumulate(map(len, EVENTS)))
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        for at in EVENT_CUTS:
            upstream.play = play(whole, at, end)
            with case(at):
                async with open_raw(harness.port) as client:
                    answer = await client.ask(request(BODY, target=SSE))
                row = await harness.row(answer.request_id)
                if at < ends[0] - 1:  # the client has seen no event: it gets a status
                    assert (answer.status, row["code"], row["usage_source"]) == (502, "SH", "none")
                    continue
                assert (answer.status, answer.is_whole) == (200, False)
                assert error_of(answer, whole[:at])["status"] == "UNAVAILABLE"
                assert (row["outcome"], row["code"]) == ("upstream_error", "SD")
                seen = sum(at >= end - 4 for end in ends)  # nobody misses the blank line
                assert (row["usage_source"], row["total_tokens"]) == USAGE_AFTER[seen]


@pytest.mark.parametrize("end", End)
async def test_events_cut_anywhere_the_sdk_raises(end: End, folder: Path) -> None:
    """And never returns from its loop as if that were all. It is told what is wrong, except where it trips over half of
    the word ``data:`` first."""
    whole = b"".join(EVENTS)
    starts = [len(EVENTS[0]), len(EVENTS[0] + EVENTS[1])]
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        client = google_client(harness.url)
        for at in EVENT_CUTS:
            upstream.play = play(whole, at, end)
            with case(at):
                error = await trio.to_thread.run_sync(_failure, client)
                assert error is not None, "the SDK took a cut stream for a whole one"
                if any(start < at < start + len("data: ") for start in starts):
                    assert isinstance(error, errors.UnknownApiResponseError)
                    continue
                assert isinstance(error, errors.ServerError), error
                assert (error.code, error.status) == (502, "UNAVAILABLE")


async def test_the_whole_stream_is_complete_so_the_cuts_are_what_fails(folder: Path) -> None:
    """The control; also without what nobody misses at its end."""
    whole = b"".join(EVENTS)
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])]) as harness,
    ):
        client = google_client(harness.url)
        for lacking in (0, 1, 2, 4):
            upstream.play = play(whole, len(whole) - lacking, End.COMPLETE)
            assert await trio.to_thread.run_sync(_failure, client) is None
        rows = await harness.rows()
        assert [(row["code"], row["usage_source"], row["total_tokens"]) for row in rows] == [("--", "exact", 20)] * 4


async def test_without_the_relay_the_sdk_takes_a_cut_stream_for_a_whole_one(folder: Path) -> None:
    """Why all this: a clean end between two events is an end to it."""
    async with open_scripted() as upstream:
        upstream.play = play(b"".join(EVENTS), len(EVENTS[0]), End.COMPLETE)
        assert await trio.to_thread.run_sync(_failure, google_client(upstream.base_url)) is None


@pytest.mark.parametrize("form", [pretty(ERROR) + b"\n", pretty(ERROR), event(ERROR)], ids=["lines", "no end", "data"])
async def test_the_upstreams_own_error_passes_once_and_ends_the_stream(form: bytes, folder: Path) -> None:
    """The client already has it: nothing is added, nobody else is tried, and it ends as the upstream ended it."""
    sent = EVENTS[0] + form
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        upstream.play = play(sent, len(sent), End.COMPLETE)
        async with open_raw(harness.port) as client:
            answer = await client.ask(request(BODY, target=SSE))
        assert (answer.body, answer.is_whole) == (sent, True)
        row = await harness.row(answer.request_id)
        assert (row["outcome"], row["code"], row["attempts"]) == ("upstream_rate_limited", "SD", 1)
        assert (row["usage_source"], row["total_tokens"]) == ("partial", 11)
        error = await trio.to_thread.run_sync(_failure, google_client(harness.url))
        assert isinstance(error, errors.ServerError)
        assert error.code == 503


async def test_half_of_the_upstreams_own_error_is_a_cut(folder: Path) -> None:
    form = pretty(ERROR)
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        client = google_client(harness.url)
        for at in range(3, len(form) - 2, 7):
            sent = b"".join(EVENTS) + form[:at]
            upstream.play = play(sent, len(sent), End.COMPLETE)
            assert await trio.to_thread.run_sync(_failure, client) is not None, at


async def test_a_cut_before_the_first_byte_is_no_stream_at_all(folder: Path) -> None:
    """The head alone commits nothing: the client gets a status."""
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        for end in (End.FIN, End.RESET):
            upstream.play = play(b"", 0, end)
            async with open_raw(harness.port) as client:
                answer = await client.ask(request(BODY, target=SSE))
            assert (answer.status, answer.is_whole) == (502, True)
            assert json.loads(answer.body)["error"]["status"] == "UNAVAILABLE"


# --- an array -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", End)
async def test_an_array_cut_anywhere_has_no_end(end: End, folder: Path) -> None:
    """Between elements our error is one more of them, inside of one there is no place; the bracket never comes."""
    whole = b"".join(ARRAY)
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        for at in ARRAY_CUTS:
            upstream.play = play(whole, at, end, "application/json; charset=UTF-8")
            with case(at):
                async with open_raw(harness.port) as client:
                    answer = await client.ask(request(BODY, target=PLAIN))
                so_far = JsonArrayElements()
                if not so_far.feed(whole[:at]):  # the client has seen no element: it gets a status
                    assert (answer.status, json.loads(answer.body)["error"]["status"]) == (502, "UNAVAILABLE")
                    continue
                assert (answer.status, answer.is_whole) == (200, False)
                if so_far.is_mid_element:
                    assert answer.body == whole[:at]
                else:
                    assert error_of(answer, whole[:at])["status"] == "UNAVAILABLE"
                    elements = JsonArrayElements()
                    assert "error" in json.loads(elements.feed(answer.body)[-1])
                    assert not elements.is_complete
                with pytest.raises(ValueError):  # noqa: PT011 -- whatever a JSON parser calls it
                    json.loads(answer.body)
                assert (await harness.row(answer.request_id))["code"] == "SD"


@pytest.mark.parametrize("end", End)
async def test_an_array_cut_anywhere_is_an_error_to_who_reads_it_whole(end: End, folder: Path) -> None:
    """No SDK of Google's asks for arrays; scripts do, with a client that waits for the end."""
    whole = b"".join(ARRAY)
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        for at in ARRAY_CUTS[:: 1 if end is End.COMPLETE else 4]:
            upstream.play = play(whole, at, end, "application/json; charset=UTF-8")
            if not JsonArrayElements().feed(whole[:at]):
                continue  # a status, as above
            with case(at), pytest.raises(http.client.IncompleteRead):
                await trio.to_thread.run_sync(_read_whole, harness.port)
        upstream.play = play(whole, len(whole), End.COMPLETE, "application/json; charset=UTF-8")
        assert json.loads(await trio.to_thread.run_sync(_read_whole, harness.port)) == list(CHUNKS)


async def test_the_upstreams_own_element_of_error_passes_once(folder: Path) -> None:
    sent = ARRAY[0] + b"\n,\r\n" + pretty(ERROR) + b"\n]"
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        upstream.play = play(sent, len(sent), End.COMPLETE, "application/json; charset=UTF-8")
        async with open_raw(harness.port) as client:
            answer = await client.ask(request(BODY, target=PLAIN))
        assert (answer.body, answer.is_whole) == (sent, True)
        row = await harness.row(answer.request_id)
        assert (row["outcome"], row["usage_source"], row["total_tokens"]) == ("upstream_rate_limited", "partial", 11)


# --- one document -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [End.FIN, End.RESET])
async def test_a_whole_answer_cut_in_its_body_is_no_answer(end: End, folder: Path) -> None:
    body = pretty(CHUNKS[2])
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url, models=["g"])], **_BLIND) as harness,
    ):
        client = google_client(harness.url)
        for at in (1, 40, len(body) - 1):
            upstream.play = play(body, at, end, "application/json")
            call = partial(client.models.generate_content, model="g", contents=CONTENTS)
            with case(at), pytest.raises(errors.ServerError, match="502"):
                await trio.to_thread.run_sync(call)


def _failure(client: genai.Client) -> BaseException | None:
    try:
        list(client.models.generate_content_stream(model="g", contents=CONTENTS))
    except Exception as error:
        return error
    return None


def _read_whole(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", PLAIN, BODY, {"x-goog-api-key": KEY, "content-type": "application/json"})
        return connection.getresponse().read()
    finally:
        connection.close()


def test_every_boundary_is_among_the_cuts() -> None:
    for pieces, at in ((EVENTS, EVENT_CUTS), (ARRAY, ARRAY_CUTS)):
        edges = set(itertools.accumulate(map(len, pieces)))
        assert edges - {sum(map(len, pieces))} <= set(at)
