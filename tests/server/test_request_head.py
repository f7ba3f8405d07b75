from __future__ import annotations

import pytest

from relay_trio.server.request_head import BadRequestHead, has_bare_line_feed, parse_request_head

PLAIN = b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: relay.example\r\nX-Api-Key: a b\r\nContent-Length: 12\r\n\r\n"


def test_a_plain_request_is_read_as_sent() -> None:
    request = parse_request_head(PLAIN, 100)
    assert (request.method, request.raw_path, request.query) == ("POST", b"/v1/messages", b"beta=true")
    assert request.headers == [(b"host", b"relay.example"), (b"x-api-key", b"a b"), (b"content-length", b"12")]
    assert request.content_length == 12
    assert request.wants_keep_alive
    assert request.has_body


def test_a_path_is_not_decoded() -> None:
    head = b"GET /model/arn%3Aaws%2Fx/invoke HTTP/1.1\r\nHost: a\r\n\r\n"
    assert parse_request_head(head, 100).raw_path == b"/model/arn%3Aaws%2Fx/invoke"


def test_an_upgrade_is_served_as_if_it_had_not_asked() -> None:
    head = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
    )
    assert parse_request_head(head, 100).wants_keep_alive


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: x, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_keep_alive_follows_version_and_connection(version: bytes, connection: bytes, keeps: bool) -> None:
    head = b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, connection)
    assert parse_request_head(head, 100).wants_keep_alive is keeps


def test_what_connection_names_is_for_this_hop_alone() -> None:
    """RFC 9110 section 7.6.1: such a field must not go upstream, whatever its name is."""
    head = PLAIN[:-2] + b"Connection: keep-alive, anthropic-x, host\r\nAnthropic-X: 1\r\nAnthropic-Y: 2\r\n\r\n"
    names = [name for name, _ in parse_request_head(head, 100).headers]
    assert names == [b"host", b"x-api-key", b"content-length", b"connection", b"anthropic-y"]


def test_an_expectation_counts_only_with_a_body() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: %d\r\n\r\n"
    assert parse_request_head(head % 3, 100).expects_continue
    assert not parse_request_head(head % 0, 100).expects_continue


# Each of these would be read in another way by some proxy, or is not HTTP at all.
REFUSED = {
    "length with transfer-encoding": (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
    "transfer-encoding with length": (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
    "two equal lengths": (b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
    "two lengths": (b"Content-Length: 3\r\nContent-Length: 4\r\n", 400),
    "length list": (b"Content-Length: 3, 3\r\n", 400),
    "signed length": (b"Content-Length: +3\r\n", 400),
    "negative length": (b"Content-Length: -3\r\n", 400),
    "hex length": (b"Content-Length: 0x3\r\n", 400),
    "empty length": (b"Content-Length:\r\n", 400),
    "huge length": (b"Content-Length: 99999999999999999999\r\n", 400),
    "te gzip, chunked": (b"Transfer-Encoding: gzip, chunked\r\n", 400),
    "te identity": (b"Transfer-Encoding: identity\r\n", 400),
    "te xchunked": (b"Transfer-Encoding: xchunked\r\n", 400),
    "te twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    "te quoted": (b'Transfer-Encoding: "chunked"\r\n', 400),
    "te with vertical tab": (b"Transfer-Encoding: \x0bchunked\r\n", 400),
    "space before colon": (b"Content-Length : 3\r\n", 400),
    "folded line": (b"X-A: b\r\n c\r\n", 400),
    "folded with tab": (b"X-A: b\r\n\tc\r\n", 400),
    "bare lf in a header": (b"X-A: b\nX-C: d\r\n", 400),
    "bare cr in a value": (b"X-A: b\rX-C: d\r\n", 400),
    "nul in a value": (b"X-A: b\x00c\r\n", 400),
    "no colon": (b"X-A\r\n", 400),
    "empty name": (b": x\r\n", 400),
    "name with a space": (b"X A: b\r\n", 400),
    "name not ascii": (b"X-\xc3\xa4: b\r\n", 400),
    "second host": (b"Host: b\r\n", 400),
    "unknown expectation": (b"Expect: 200-ok\r\n", 417),
    "too many fields": (b"".join(b"X-%d: y\r\n" % n for n in range(100)), 431),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_headers_are_refused(name: str) -> None:
    fields, status = REFUSED[name]
    with pytest.raises(BadRequestHead) as caught:
        parse_request_head(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", 100)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/9.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET /", 505),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"get / HTTP/1.1", 400),
        (b"G\xc3\x84T / HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET http://other/ HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"OPTIONS * HTTP/1.1", 400),
        (b"CONNECT a:443 HTTP/1.1", 501),
        (b"PRI * HTTP/2.0", 505),
        (b"NOSUCH / HTTP/1.1", 400),
    ],
)
def test_a_bad_request_line_is_refused(line: bytes, status: int) -> None:
    with pytest.raises(BadRequestHead) as caught:
        parse_request_head(line + b"\r\nHost: a\r\n\r\n", 100)
    assert caught.value.status in ({status} if status != 505 else {505, 400})


def test_http_1_1_needs_a_host_and_1_0_does_not() -> None:
    with pytest.raises(BadRequestHead):
        parse_request_head(b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 100)
    assert parse_request_head(b"GET / HTTP/1.0\r\n\r\n", 100).http_version == "1.0"
    with pytest.raises(BadRequestHead):
        parse_request_head(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 100)


def test_a_bare_line_feed_shows_before_the_head_is_whole() -> None:
    assert has_bare_line_feed(b"GET / HTTP/1.1\n")
    assert not has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r")
