"""Gemini: bytes out are bytes in, the ledger has what they say, and a key in the query is nowhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from relay_trio.http import is_event_stream
from tests.support.accounts import ACCOUNT_KEYS, gemini_account
from tests.support.cases import case
from tests.support.cuts import cuts
from tests.support.google_clients import CONTENTS
from tests.support.raw_client import ask, open_raw, request
from tests.support.scripted_upstream import chunked, open_scripted, sized
from tests.support.socket_harness import KEY, NEVER_RESTS, open_harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recordings import Recording
    from tests.support.socket_harness import SocketHarness

BODY = json.dumps({"contents": CONTENTS}).encode()


def as_array(body: bytes) -> bytes:
    """The events of a stream in the other form; none was recorded."""
    lines = [line[6:] for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
    return b"[" + b"\n,\r\n".join(json.dumps(json.loads(line), indent=2).encode() for line in lines) + b"\n]\n"


async def test_every_recorded_stream_arrives_in_the_other_form_too(recordings: list[Recording], folder: Path) -> None:
    """The events of streams as one array, in drawn pieces: the same usage."""
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url)]) as harness,
        open_raw(harness.port) as client,
    ):
        for recording in recordings:
            if recording.provider not in ("gemini", "vertex") or not is_whole_stream_of_events(recording):
                continue
            body = as_array(recording.body)
            target = recording.call.target.replace("?alt=sse", "")
            for pieces in cuts(body, drawn=2, seed=7):
                if len(pieces) == len(body):
                    continue
                upstream.play = chunked(pieces, headers=[("content-type", "application/json; charset=UTF-8")])
                answer = await client.ask(request(recording.call.body, target=target))
                with case(recording.id):
                    assert (answer.body, answer.is_whole) == (body, True)
                    row = await harness.row(answer.request_id)
                    assert (row["outcome"], row["usage_source"]) == ("completed", "exact")
                    assert {name: row[name] for name in recording.tokens} == recording.tokens


def is_whole_stream_of_events(recording: Recording) -> bool:
    return is_event_stream(recording.head) and recording.ends == "complete" and not recording.is_gzip


# --- a key in the query -------------------------------------------------------------------------------------------

QUERIES = (f"key={KEY}", f"alt=sse&key={KEY}", f"%6Bey={KEY}&alt=sse", f"$key={KEY}")
TARGETS = (
    "/v1beta/models/gemini-sim:generateContent",
    "/v1/models/gemini-sim:streamGenerateContent",
    "/v1/models",
    "/v1beta/models/nothing/here",
    "/v1beta/models/gemini-sim:nothing",
    "/v1/models/gemini-sim:generateContent/",
    "/v1/models/%2e%2e:generateContent",
    "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-sim:generateContent",
)


async def test_a_key_in_the_query_is_nowhere_but_there(folder: Path) -> None:
    """Not upstream, not in the ledger (its pages too), the log, an error or an admin page; on good and bad paths,
    while it runs and after. The harness looks for canaries in ledger and log."""
    async with (
        open_scripted() as upstream,
        open_harness(folder, [gemini_account("one", upstream.base_url)], breaker=NEVER_RESTS) as harness,
    ):
        seen: list[bytes] = []
        for target in TARGETS:
            for query in QUERIES:
                for play in (sized([b"{}"]), sized([b"{}"], status=400), sized([b"<html>"], status=500)):
                    upstream.play = play
                    method = "GET" if target == "/v1/models" else "POST"
                    data = request(
                        BODY if method == "POST" else b"", method=method, target=f"{target}?{query}", key=None
                    )
                    answer = await ask(harness.port, data)
                    seen += [answer.body, repr(answer.headers).encode()]
        assert len(upstream.requests) >= 30
        for head, _ in upstream.requests:
            assert KEY.encode() not in head
            assert b"key=" not in head
            assert f"\r\nx-goog-api-key: {ACCOUNT_KEYS[0]}\r\n".encode() in head
        harness.assert_no_canary(*seen)
        await _look_while_one_runs(harness)


async def _look_while_one_runs(harness: SocketHarness) -> None:
    """The admin pages, while a request with its key in the query hangs in the relay."""
    head = f"POST /v1/models/gemini-sim:generateContent?key={KEY} HTTP/1.1\r\nhost: relay\r\ncontent-length: 9\r\n\r\n"
    port = int(harness.bound.admin_url.rpartition(":")[2])
    async with open_raw(harness.port) as client:
        await client.send(head.encode())
        with trio.fail_after(5):
            while not len(harness.relay.core.live):  # noqa: ASYNC110 -- nobody announces it
                await trio.sleep(0.005)
        async with open_raw(port) as admin:
            for page in ("/debug/tasks", "/debug/invariants"):
                answer = await admin.ask(request(method="GET", target=page, key=None))
                assert answer.status == 200
                harness.assert_no_canary(answer.body)
