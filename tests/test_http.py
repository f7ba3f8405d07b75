"""Headers are looked up, and addresses are read."""

from __future__ import annotations

import pytest

from relay_trio.http import BaseAddress, ResponseHead, UpstreamRequest, header, header_text, is_event_stream, target_of


def test_the_first_of_several_values_counts() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert header(headers, b"b") == b"2"


def test_a_header_that_is_not_there_is_none_and_an_empty_one_is_empty() -> None:
    assert header([], b"a") is None
    assert header([(b"a", b"")], b"a") == b""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"content-type", b"text/event-stream")], True),
        ([(b"content-type", b"text/event-stream; charset=utf-8")], True),
        ([(b"content-type", b"Text/Event-Stream")], True),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"identity")], True),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")], True),
        ([(b"content-type", b"application/json")], False),
        ([], False),
    ],
)
def test_an_event_stream_is_known_by_its_content_type(headers: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert is_event_stream(ResponseHead(200, headers)) is expected


def test_a_header_as_text_is_empty_where_there_is_none() -> None:
    assert header_text([(b"a", b"caf\xe9")], b"a") == "caf\xe9"
    assert header_text([], b"a") == ""


@pytest.mark.parametrize(
    ("url", "address", "authority"),
    [
        ("https://api.example", BaseAddress("https", "api.example", 443), "api.example"),
        ("https://api.example:443/", BaseAddress("https", "api.example", 443), "api.example"),
        ("http://127.0.0.1:9/a/b/", BaseAddress("http", "127.0.0.1", 9, b"/a/b"), "127.0.0.1:9"),
        ("http://[::1]", BaseAddress("http", "::1", 80), "[::1]"),
        ("https://[::1]:80", BaseAddress("https", "::1", 80), "[::1]:80"),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: BaseAddress, authority: str) -> None:
    assert BaseAddress.parse(url) == address
    assert address.authority == authority


def test_a_host_of_settings_is_a_host_and_nothing_else() -> None:
    assert BaseAddress.of_host("api.example") == BaseAddress("https", "api.example", 443)
    for host in ("x.evil/api.example", "x.evil/", "a@x.evil", "x.evil:80", "x.evil?", "x.evil#", "X.evil", ""):
        with pytest.raises((ValueError, AssertionError)):
            BaseAddress.of_host(host)


def test_a_target_has_a_question_mark_only_before_a_query() -> None:
    assert target_of(b"/v1", b"x=1") == b"/v1?x=1"
    assert target_of(b"/v1", b"") == b"/v1"


def test_a_request_has_the_prefix_before_its_target() -> None:
    address = BaseAddress("https", "api.example", 443, b"/a")
    expected = UpstreamRequest("GET", "https", "api.example", 443, b"/a/v1?x=1", [(b"b", b"c")], b"")
    assert address.request("GET", b"/v1?x=1", [(b"b", b"c")], b"") == expected
