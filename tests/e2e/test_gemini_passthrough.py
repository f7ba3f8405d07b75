"""Gemini: bytes out are bytes in, the ledger has what they say, and a key in the query is nowhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.cuts import cuts
from tests.e2e.google_house import CONTENTS, gemini_account, vertex_account
from tests.e2e.house import ACCOUNT_KEYS, KEY, case, open_house
from tests.e2e.raw_client import ask, open_raw, request
from tests.e2e.scripted import chunked, open_scripted, sized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.house import House, Row

BODY = json.dumps({"contents": CONTENTS}).encode()
_FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection"}
_SERVED = {"sse", "json", "countTokens", "embedContent", "batchEmbedContents", "error"}

Recording = tuple[str, dict[str, Any], bytes, dict[str, int] | None]


def recordings(corpus: Path) -> Iterator[Recording]:
    """Every recorded exchange on a route that is relayed: name, meta, body, usage."""
    expected = json.loads((corpus / "expected_usage.json").read_text())["recordings"]
    for row in json.loads((corpus / "recordings" / "INDEX.json").read_text()):
        if row["name"].startswith(("gemini/", "vertex/")) and row["kind"] in _SERVED:
            stem = corpus / "recordings" / row["name"]
            meta = json.loads(stem.with_suffix(".meta.json").read_text())
            yield row["name"], meta, stem.with_suffix(".body").read_bytes(), expected[row["name"]]


def as_array(body: bytes) -> bytes:
    """The events of a stream in the other form; none was recorded."""
    lines = [line[6:] for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
    return b"[" + b"\n,\r\n".join(json.dumps(json.loads(line), indent=2).encode() for line in lines) + b"\n]\n"


def tokens(row: Row) -> dict[str, int]:
    names = ("input", "output", "cache_creation", "cache_read", "total")
    return {name: row[f"{name}_tokens"] for name in names}


@pytest.mark.parametrize("service", [gemini_account, vertex_account])
async def test_every_recording_arrives_as_it_was_sent_whole_and_cut(corpus: Path, folder: Path, service: Any) -> None:
    """Status, body, content type and usage, with either framing, in drawn pieces; errors too, which stay Google's."""
    async with (
        open_scripted() as upstream,
        open_house(folder, [service("one", upstream.base_url)], breaker={"enabled": False}) as house,
        open_raw(house.port) as client,
    ):
        replayed: dict[str, Recording] = {}
        for number, recording in enumerate(recordings(corpus)):
            name, meta, body, _ = recording
            if service is vertex_account and "batchEmbedContents" in name:
                continue
            status, headers = meta["response"]["status"], meta["response"]["headers"]
            kept = [(n.lower(), v) for n, v in headers.items() if n.lower() not in _FRAMING]
            data = request(_body_of(meta), target=meta["request"]["path"])
            for pieces in cuts(body, drawn=3, seed=number):
                if len(pieces) == len(body):
                    continue  # byte by byte: below
                make = sized if not name.split("/")[1].startswith("sse") and len(pieces) % 2 else chunked
                upstream.play = make(pieces, status=status, headers=kept)
                answer = await client.ask(data)
                with case(name):
                    assert (answer.status, answer.is_whole, answer.body) == (status, True, body)
                    assert answer.header(b"content-type") == dict(kept)["content-type"].encode()
                    assert answer.header(b"alt-svc") is None
                    assert upstream.requests[-1][1] == _body_of(meta), "the request's body was altered"
                    replayed[answer.request_id] = recording
        _check_rows(await house.rows(), replayed)
        assert len({name for name, *_ in replayed.values()}) >= 30


def _body_of(meta: dict[str, Any]) -> bytes:
    body = meta["request"]["body"]
    return json.dumps(body if isinstance(body, dict) else {"contents": CONTENTS}).encode()


def _check_rows(rows: list[Row], replayed: dict[str, Recording]) -> None:
    assert len(rows) == len(replayed)
    for row in rows:
        name, meta, _, usage = replayed[row["request_id"]]
        with case(name):
            if meta["response"]["status"] != 200:
                assert (row["code"], row["usage_source"]) == ("SH", "none")
                continue
            assert row["outcome"] == "completed"
            assert row["usage_source"] == ("none" if usage is None else "exact")
            if usage is not None:
                assert tokens(row) == usage


async def test_every_recorded_stream_arrives_in_the_other_form_too(corpus: Path, folder: Path) -> None:
    async with (
        open_scripted() as upstream,
        open_house(folder, [gemini_account("one", upstream.base_url)]) as house,
        open_raw(house.port) as client,
    ):
        for name, meta, recorded, usage in recordings(corpus):
            if "/sse-" not in name:
                continue
            body = as_array(recorded)
            target = meta["request"]["path"].replace("?alt=sse", "")
            for pieces in cuts(body, drawn=2, seed=7):
                if len(pieces) == len(body):
                    continue
                upstream.play = chunked(pieces, headers=[("content-type", "application/json; charset=UTF-8")])
                answer = await client.ask(request(_body_of(meta), target=target))
                with case(name):
                    assert (answer.body, answer.is_whole) == (body, True)
                    row = await house.row(answer.request_id)
                    assert (row["outcome"], row["usage_source"]) == ("completed", "exact")
                    assert tokens(row) == usage


async def test_streams_sent_byte_by_byte_arrive_as_they_were_sent(corpus: Path, folder: Path) -> None:
    """The shortest two, in both forms."""
    streams = sorted((r for r in recordings(corpus) if "/sse-" in r[0]), key=lambda r: len(r[2]))[:2]
    async with (
        open_scripted() as upstream,
        open_house(folder, [gemini_account("one", upstream.base_url)]) as house,
        open_raw(house.port) as client,
    ):
        for name, meta, recorded, usage in streams:
            for body, kind in ((recorded, "text/event-stream"), (as_array(recorded), "application/json")):
                upstream.play = chunked(
                    [body[at : at + 1] for at in range(len(body))], headers=[("content-type", kind)]
                )
                answer = await client.ask(request(_body_of(meta), target=meta["request"]["path"]))
                with case(name):
                    assert (answer.body, answer.is_whole) == (body, True)
                    assert tokens(await house.row(answer.request_id)) == usage


# --- a key in the query -------------------------------------------------------------------------------------------

QUERIES = (f"key={KEY}", f"alt=sse&key={KEY}", f"%6Bey={KEY}&alt=sse", f"$key={KEY}")
TARGETS = (
    "/v1beta/models/g:generateContent",
    "/v1/models/g:streamGenerateContent",
    "/v1/models",
    "/v1beta/models/nothing/here",
    "/v1beta/models/g:nothing",
    "/v1/models/g:generateContent/",
    "/v1/models/%2e%2e:generateContent",
    "/v1beta1/projects/p/locations/l/publishers/google/models/g:generateContent",
)


async def test_a_key_in_the_query_is_nowhere_but_there(folder: Path) -> None:
    """Not upstream, not in the ledger (its pages too), the log, an error or an admin page; on good and bad paths,
    while it runs and after. The house looks for canaries in ledger and log."""
    async with (
        open_scripted() as upstream,
        open_house(folder, [gemini_account("one", upstream.base_url)], breaker={"enabled": False}) as house,
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
                    answer = await ask(house.port, data)
                    seen += [answer.body, repr(answer.headers).encode()]
        assert len(upstream.requests) >= 40
        for head, _ in upstream.requests:
            assert KEY.encode() not in head
            assert b"key=" not in head
            assert f"\r\nx-goog-api-key: {ACCOUNT_KEYS[0]}\r\n".encode() in head
        house.assert_no_canary(*seen)
        await _look_while_one_runs(house)


async def _look_while_one_runs(house: House) -> None:
    """The admin pages, while a request with its key in the query hangs in the relay."""
    head = f"POST /v1/models/g:generateContent?key={KEY} HTTP/1.1\r\nhost: relay\r\ncontent-length: 9\r\n\r\n"
    port = int(house.bound.admin_url.rpartition(":")[2])
    async with open_raw(house.port) as client:
        await client.send(head.encode())
        with trio.fail_after(5):
            while not len(house.relay.core.live):  # noqa: ASYNC110 -- nobody announces it
                await trio.sleep(0.005)
        async with open_raw(port) as admin:
            for page in ("/debug/tasks", "/debug/invariants"):
                answer = await admin.ask(request(method="GET", target=page, key=None))
                assert answer.status == 200
                house.assert_no_canary(answer.body)
