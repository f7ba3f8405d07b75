"""Paths in two address books, and queries without what says who asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.errors import BadRequest
from relay_trio.vendors.gemini.paths import GeminiPath, forwarded_query, keys_in, parse_path

VERTEX = b"/v1beta1/projects/p/locations/l/publishers/google/models"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/models", GeminiPath("v1", False, b"", "")),
        (b"/v1beta/models/gemini-x", GeminiPath("v1beta", False, b"gemini-x", "")),
        (b"/v1alpha/models/g:countTokens", GeminiPath("v1alpha", False, b"g", "countTokens")),
        (b"/v1/models/g%3AgenerateContent", GeminiPath("v1", False, b"g", "generateContent")),
        (b"/v1/models/g%3agenerateContent", GeminiPath("v1", False, b"g", "generateContent")),
        (b"/v1/models/g:1:x=2,y=z:embedContent", GeminiPath("v1", False, b"g:1:x=2,y=z", "embedContent")),
        (b"/v1/models/g:predict", GeminiPath("v1", False, b"g:predict", "")),
        (b"/v1/models/:generateContent", GeminiPath("v1", False, b":generateContent", "")),
        (VERTEX + b"/g@001:generateContent", GeminiPath("v1beta1", True, b"g@001", "generateContent")),
        (b"/v1/publishers/google/models/g:countTokens", GeminiPath("v1", True, b"g", "countTokens")),
        (VERTEX, GeminiPath("v1beta1", True, b"", "")),
    ],
)
def test_a_path_is_read(raw: bytes, path: GeminiPath) -> None:
    assert parse_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"/", b"/v2/models/g:generateContent", b"/v1/model/g", b"/v1/models/", b"/v1/models/a/b:generateContent",
        b"/v1/models/g?x:generateContent", b"/v1beta/publishers/google/models/g:generateContent",
        b"/v1/publishers/anthropic/models/g:rawPredict", b"/v1/projects/p/locations/l/models/g:generateContent",
        b"/v1/projects/p/q/locations/l/publishers/google/models/g:generateContent", b"x/v1/models/g:generateContent",
        b"/v1/models/g:generateContent/", b"/v1/models/" + b"g" * 2000 + b":generateContent", b"/v1/models/\xff",
    ],
)  # fmt: skip
def test_what_is_no_path_of_these_is_none(raw: bytes) -> None:
    assert parse_path(raw) is None


@given(st.binary(max_size=80))
def test_no_bytes_make_the_parser_raise(garbage: bytes) -> None:
    for raw in (garbage, b"/v1/models/" + garbage, VERTEX + b"/" + garbage):
        path = parse_path(raw)
        assert path is None or isinstance(path.model_name, str)


def test_a_name_is_decoded_and_its_escapes_go_on() -> None:
    path = parse_path(b"/v1beta/models/tuned%3Ax%2Fy:generateContent")
    assert path is not None
    assert path.model_name == "tuned:x/y"
    assert path.for_vertex("p", "l").endswith(b"/models/tuned%3Ax%2Fy:generateContent")


@pytest.mark.parametrize(
    ("version", "raw"),
    [(b"/v1", b"/v1"), (b"/v1beta1", b"/v1beta"), (b"/v1beta1", b"/v1alpha")],
)
def test_a_path_of_the_gemini_api_has_one_at_vertex(version: bytes, raw: bytes) -> None:
    path = parse_path(raw + b"/models/g:generateContent")
    assert path is not None
    place = b"/projects/mine/locations/eu/publishers/google/models/g:generateContent"
    assert path.for_vertex("mine", "eu") == version + place
    assert path.for_vertex(None, None) == version + b"/publishers/google/models/g:generateContent"


def test_a_path_of_vertex_has_one_at_the_gemini_api_and_another_project_elsewhere() -> None:
    path = parse_path(VERTEX + b"/g:streamGenerateContent")
    assert path is not None
    assert path.for_gemini() == b"/v1beta/models/g:streamGenerateContent"
    mine = b"/v1beta1/projects/mine/locations/eu/publishers/google/models/g:streamGenerateContent"
    assert path.for_vertex("mine", "eu") == mine


def test_lists_have_paths_too() -> None:
    path = parse_path(VERTEX)
    assert path is not None
    assert path.for_vertex(None, None) == b"/v1beta1/publishers/google/models"
    assert path.for_gemini() == b"/v1beta/models"


@pytest.mark.parametrize(
    ("query", "forwarded", "keys"),
    [
        (b"", b"", []),
        (b"alt=sse", b"alt=sse", []),
        (b"key=K", b"", ["K"]),
        (b"alt=sse&key=K", b"alt=sse", ["K"]),
        (b"key=K&alt=sse&key=L", b"alt=sse", ["K", "L"]),
        (b"%6Bey=K%2B&x=%20+&&y", b"x=%20+&&y", ["K+"]),
        (b"KEY=K&$key=L&%24key=M", b"", ["K", "L", "M"]),
        (b"key=&key", b"", []),
        (b"access_token=T&oauth_token=T&$userProject=P&a=1", b"a=1", []),
        (b"%24alt=json%3Benum-encoding%3Dint", b"%24alt=json%3Benum-encoding%3Dint", []),
        (b"pageSize=3&pageToken=a%3D", b"pageSize=3&pageToken=a%3D", []),
        (b"requestId=1&contents=2&xkey=3", b"requestId=1&contents=2&xkey=3", []),
    ],
)
def test_a_query_goes_on_without_the_key(query: bytes, forwarded: bytes, keys: list[str]) -> None:
    assert forwarded_query(query) == forwarded
    assert keys_in(query) == keys


@pytest.mark.parametrize(
    "query",
    [
        b"alt=proto", b"alt=media", b"$alt=proto", b"%24ALT=Proto", b"alt=sse;key=K", b"callback=f", b"$callback=f",
        b"fields=candidates", b"$fields=candidates", b"$httpHeaders=X-Goog-User-Project%3Ap", b"$httpMethod=GET",
        b"%24req=%7B%7D", b"$ct=x",
    ],
)  # fmt: skip
def test_a_query_that_hides_tokens_or_a_request_is_refused(query: bytes) -> None:
    with pytest.raises(BadRequest):
        forwarded_query(query)
