"""Every route of the Gemini API and of Vertex AI: where it goes, what is relayed of path and query, how errors are
told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from relay_trio.http import header
from tests.support.gemini_answers import ARRAY, USAGE
from tests.support.gemini_scripts import BODY, accounts, streams, streams_an_array
from tests.support.memory_harness import KEY, MemoryHarness, assert_no_defect, open_harness
from tests.support.scripts import MESSAGE
from tests.vendors.claude.test_routes import recording

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.memory_harness import Client, Script, UpstreamSide

GEMINI = accounts()
VERTEX = accounts("vertex")
PROJECT = "projects/theirs/locations/theirs/"


async def send(
    harness: MemoryHarness,
    path: str,
    raw_path: str | None = None,
    *,
    method: str = "POST",
    query: str = "",
    body: bytes = BODY,
    headers: tuple[tuple[bytes, bytes], ...] = ((b"x-goog-api-key", KEY.encode()),),
) -> Client:
    """A request with exactly these credentials, its escapes as given."""
    client = harness.request(
        body if method == "POST" else b"",
        method=method,
        path=raw_path or path,
        query=query.encode(),
        credentials=headers,
    )
    with trio.fail_after(1000):
        await client.run()
    assert_no_defect(harness)
    return client


def error_of(client: Client) -> tuple[int | None, str]:
    """The error that the client got, in Google's envelope."""
    error = json.loads(client.body)["error"]
    assert error["code"] == client.status
    assert error["message"]
    request_id = (header(client.sent[0]["headers"], b"request-id") or b"").decode()
    assert request_id.startswith("req_")
    assert error["details"][0]["requestId"] == request_id
    return client.status, error["status"]


# --- where it goes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "route", "model", "is_stream"),
    [
        ("POST", "/v1beta/models/g:generateContent", "gemini.generate", "g", False),
        ("POST", "/v1/models/g:generateContent", "gemini.generate", "g", False),
        ("POST", "/v1alpha/models/g-1.5:countTokens", "gemini.count_tokens", "g-1.5", False),
        ("POST", "/v1/models/g:embedContent", "gemini.embed", "g", False),
        ("POST", "/v1beta/models/g:batchEmbedContents", "gemini.batch_embed", "g", False),
        ("POST", "/v1/models/g:1,x=y:generateContent", "gemini.generate", "g:1,x=y", False),
        ("GET", "/v1beta/models/g", "gemini.models", "g", False),
        ("GET", "/v1/models/g", "gemini.models", "g", False),
    ],
)
async def test_each_route_is_relayed_under_its_name(
    autojump_clock: MockClock, method: str, path: str, route: str, model: str, is_stream: bool
) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **GEMINI) as harness:
        client = await send(harness, path, method=method)
        assert (client.status, client.body) == (200, MESSAGE)
        assert heads[-1].startswith(f"{method} {path} HTTP/1.1\r\n".encode())
        assert b"\r\nx-goog-api-key: AIza-account\r\n" in heads[0] + b"\r\n"
        (row,) = harness.rows
        assert (row.route, row.model, row.is_stream, row.provider) == (route, model, is_stream, "gemini")
        harness.assert_at_rest()


@pytest.mark.parametrize("script", [streams, streams_an_array])
@pytest.mark.parametrize("path", ["/v1beta/models/g", f"/v1/{PROJECT}publishers/google/models/g"])
async def test_a_stream_is_one_by_its_path_in_either_form(autojump_clock: MockClock, script: Script, path: str) -> None:
    async with open_harness(script, **GEMINI) as harness:
        query = "" if script is streams_an_array else "alt=sse"
        client = await send(harness, f"{path}:streamGenerateContent", query=query)
        assert client.is_finished
        if script is streams_an_array:
            assert client.body == b"".join(ARRAY)
        (row,) = harness.rows
        assert (row.route, row.is_stream, row.usage) == ("gemini.stream", True, USAGE)


@pytest.mark.parametrize(
    ("accounts_", "path", "goes_to"),
    [
        (GEMINI, f"/v1/{PROJECT}publishers/google/models/g:countTokens", "/v1/models/g:countTokens"),
        (GEMINI, "/v1beta1/publishers/google/models/g:countTokens", "/v1beta/models/g:countTokens"),
        (
            VERTEX,
            "/v1/models/g:countTokens",
            "/v1/projects/mine/locations/global/publishers/google/models/g:countTokens",
        ),
        (
            VERTEX,
            f"/v1beta1/{PROJECT}publishers/google/models/g:countTokens",
            "/v1beta1/projects/mine/locations/global/publishers/google/models/g:countTokens",
        ),
        (VERTEX, "/v1beta1/publishers/google/models", "/v1beta1/publishers/google/models?pageSize=1000"),
    ],
)
async def test_either_service_answers_what_means_the_same(accounts_: dict[str, Any], path: str, goes_to: str) -> None:
    """Without the clock that jumps: a token is asked for in a thread."""
    heads: list[bytes] = []
    method = "GET" if path.endswith("models") else "POST"
    async with open_harness(recording(heads), **accounts_) as harness:
        client = await send(harness, path, method=method)
        assert client.status == 200
        assert heads[0].startswith(f"{method} {goes_to} HTTP/1.1\r\n".encode())
        is_vertex = accounts_ is VERTEX
        assert (b"\r\nauthorization: Bearer ya29.token" in heads[0]) is is_vertex
        assert (b"\r\nx-goog-api-key: AIza-account" in heads[0]) is not is_vertex
        harness.assert_at_rest()


@pytest.mark.parametrize("raw", ["/v1/models/g%3A1:countTokens", "/v1/models/g%3a1%3AcountTokens"])
async def test_escapes_survive_and_the_model_is_decoded(autojump_clock: MockClock, raw: str) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **GEMINI) as harness:
        await send(harness, "/v1/models/g:1:countTokens", raw)
        assert heads[0].startswith(f"POST {raw} HTTP/1.1\r\n".encode())
        assert harness.rows[0].model == "g:1"


# --- who asks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (((b"x-goog-api-key", KEY.encode()),), "alt=sse"),
        (((b"authorization", f"Bearer {KEY}".encode()),), "alt=sse"),
        ((), f"alt=sse&key={KEY}"),
        ((), f"key={KEY}&alt=sse"),
        ((), f"%6bey={KEY}&alt=sse"),
        (((b"x-goog-api-key", b"AIza-theirs"),), f"alt=sse&key={KEY}"),
    ],
)
async def test_the_key_may_stand_in_any_of_their_places_and_stays_here(
    autojump_clock: MockClock, headers: tuple[tuple[bytes, bytes], ...], query: str
) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **GEMINI) as harness:
        client = await send(harness, "/v1beta/models/g:countTokens", query=query, headers=headers)
        assert client.status == 200
        assert heads[0].startswith(b"POST /v1beta/models/g:countTokens?alt=sse HTTP/1.1\r\n")
        assert KEY.encode() not in heads[0]
        assert b"AIza-theirs" not in heads[0]
        assert KEY not in repr(harness.rows)


@pytest.mark.parametrize("query", ["", "key=rt_wrong", "key="])
async def test_without_a_key_that_works_it_is_401_in_googles_words(autojump_clock: MockClock, query: str) -> None:
    async with open_harness(recording([]), **GEMINI) as harness:
        client = await send(harness, "/v1/models/g:generateContent", query=query, headers=())
        assert error_of(client) == (401, "UNAUTHENTICATED")
        assert b"rt_wrong" not in client.body
        assert not harness.rows


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "raw", "status", "word"),
    [
        ("/v1/models/a/../b:generateContent", "/v1/models/a%2F..%2Fb:generateContent", 404, "NOT_FOUND"),
        ("/v1/models/..:generateContent", "/v1/models/%2e%2e:generateContent", 400, "INVALID_ARGUMENT"),
        ("/v1/models/a/b:generateContent", None, 404, "NOT_FOUND"),
        ("/v1/models/a b:generateContent", "/v1/models/a%20b:generateContent", 400, "INVALID_ARGUMENT"),
        ("/v1/models/a?b:generateContent", "/v1/models/a%3Fb:generateContent", 400, "INVALID_ARGUMENT"),
        ("/v1/models/ä:generateContent", "/v1/models/%C3%A4:generateContent", 400, "INVALID_ARGUMENT"),
        ("/v1/models/a%2Fb:generateContent", "/v1/models/a%252Fb:generateContent", 400, "INVALID_ARGUMENT"),
        ("/v1/models/:generateContent", None, 404, "NOT_FOUND"),
        ("/v1/models/g:predict", None, 404, "NOT_FOUND"),
        ("/v1/models/g:generateContent/", None, 404, "NOT_FOUND"),
        ("/v1beta/files", None, 404, "NOT_FOUND"),
        ("/v1beta/models", None, 405, "INVALID_ARGUMENT"),
        ("/v1/publishers/anthropic/models/c:rawPredict", None, 404, "NOT_FOUND"),
        ("/v2/models/g:generateContent", None, 404, "NOT_FOUND"),
    ],
)
async def test_a_path_that_could_mean_something_else_is_not_relayed(
    autojump_clock: MockClock, path: str, raw: str | None, status: int, word: str
) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **GEMINI) as harness:
        assert error_of(await send(harness, path, raw)) == (status, word)
        assert not heads


@pytest.mark.parametrize("path", ["/v1/models/g:generateContent", "/v1beta/models/g:countTokens"])
async def test_another_method_is_405(autojump_clock: MockClock, path: str) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **GEMINI) as harness:
        for method in ("GET", "PUT", "DELETE"):
            assert error_of(await send(harness, path, method=method)) == (405, "INVALID_ARGUMENT")
        assert not heads


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"{", b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"a": NaN}', b"\xff"])
async def test_a_body_that_is_not_one_json_object_is_400(autojump_clock: MockClock, body: bytes) -> None:
    async with open_harness(recording([]), **GEMINI) as harness:
        client = await send(harness, "/v1/models/g:generateContent", body=body)
        assert error_of(client) == (400, "INVALID_ARGUMENT")


async def test_a_body_that_is_too_large_is_413(autojump_clock: MockClock) -> None:
    async with open_harness(recording([]), **GEMINI, server={"max_body_bytes": 1024}) as harness:
        client = await send(harness, "/v1/models/g:generateContent", body=b'{"a": "' + b"x" * 2000 + b'"}')
        assert error_of(client) == (413, "INVALID_ARGUMENT")


@pytest.mark.parametrize("query", ["alt=proto", "fields=candidates", "$httpHeaders=x", "callback=f"])
async def test_a_query_that_hides_tokens_is_400(autojump_clock: MockClock, query: str) -> None:
    async with open_harness(recording([]), **GEMINI) as harness:
        client = await send(harness, "/v1/models/g:generateContent", query=query)
        assert error_of(client) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "path", ["/v1/models/x-large:generateContent", f"/v1/{PROJECT}publishers/google/models/x:countTokens"]
)
async def test_limits_of_the_key_and_of_the_accounts_hold_for_the_model_in_the_path(
    autojump_clock: MockClock, path: str
) -> None:
    narrow = [{"name": "test", "secret": KEY, "models": ["g-*"]}]
    async with open_harness(recording([]), **GEMINI, key=narrow) as harness:
        assert error_of(await send(harness, path)) == (403, "PERMISSION_DENIED")
        assert error_of(await send(harness, "/v1/models/x", method="GET")) == (403, "PERMISSION_DENIED")
    async with open_harness(recording([]), **accounts(models=["g-*"])) as harness:
        assert error_of(await send(harness, path)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("accounts_", "path"),
    [(VERTEX, "/v1/models/g:batchEmbedContents"), ({}, "/v1/models/g:generateContent")],
)
async def test_what_no_account_can_do_is_404(autojump_clock: MockClock, accounts_: dict[str, Any], path: str) -> None:
    async with open_harness(recording([]), **accounts_) as harness:
        assert error_of(await send(harness, path)) == (404, "NOT_FOUND")


async def test_an_upstreams_error_is_passed_on_as_it_came(autojump_clock: MockClock) -> None:
    body = b'[{"error": {"code": 400, "message": "theirs", "status": "INVALID_ARGUMENT"}}]'

    async def script(side: UpstreamSide) -> None:
        await side.request()
        head = b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\nserver: ESF\r\ncontent-length: %d\r\n\r\n"
        await side.send(head % len(body), body)

    async with open_harness(script, **GEMINI) as harness:
        client = await send(harness, "/v1/models/g:streamGenerateContent")
        assert (client.status, client.body) == (400, body)
        assert header(client.sent[0]["headers"], b"content-type") == b"application/json; charset=UTF-8"
        assert header(client.sent[0]["headers"], b"server") is None


# --- lists --------------------------------------------------------------------------------------------------------

LIST = {"models": [{"name": f"models/{name}"} for name in ("g-1", "g-2", "e-1")], "nextPageToken": "x"}


def lists(document: object) -> Script:
    async def script(side: UpstreamSide) -> None:
        head = await side.request()
        assert b"\r\naccept-encoding: identity\r\n" in head
        body = json.dumps(document).encode()
        await side.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body
        )

    return script


@pytest.mark.parametrize(
    ("account_models", "key_models", "listed"),
    [
        (["*"], ["*"], ["g-1", "g-2", "e-1"]),
        (["g-*"], ["*"], ["g-1", "g-2"]),
        (["*"], ["*-1"], ["g-1", "e-1"]),
        (["g-*"], ["*-1"], ["g-1"]),
    ],
)
async def test_a_list_holds_what_the_pool_serves_and_the_key_may_use(
    autojump_clock: MockClock, account_models: list[str], key_models: list[str], listed: list[str]
) -> None:
    key = [{"name": "test", "secret": KEY, "models": key_models}]
    async with open_harness(lists(LIST), **accounts(models=account_models), key=key) as harness:
        headers = ((b"x-goog-api-key", KEY.encode()), (b"accept-encoding", b"gzip"))
        client = await send(harness, "/v1beta/models", method="GET", headers=headers)
        assert client.is_finished
        assert [model["name"] for model in json.loads(client.body)["models"]] == [f"models/{name}" for name in listed]
        assert "nextPageToken" not in json.loads(client.body)
