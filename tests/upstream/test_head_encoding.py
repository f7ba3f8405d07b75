"""The bytes of a request head, and everything that is kept off the wire."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.errors import ErrorKind, RelayError
from relay_trio.http import UpstreamRequest
from relay_trio.upstream.head_encoding import authority, request_head


def request(**changes: Any) -> UpstreamRequest:
    fields: dict[str, Any] = {
        "method": "POST",
        "scheme": "https",
        "host": "api.example",
        "port": 443,
        "target": b"/v1",
        "headers": [(b"accept", b"*/*")],
        "body": b"{}",
    }
    return UpstreamRequest(**(fields | changes))


def test_a_head_is_what_was_given_plus_host_and_length() -> None:
    """Nothing else: no user agent, no accept-encoding."""
    assert request_head(request()) == (
        b"POST /v1 HTTP/1.1\r\nhost: api.example\r\naccept: */*\r\ncontent-length: 2\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", b"", None), ("HEAD", b"", None), ("DELETE", b"", None), ("POST", b"", 0), ("GET", b"x", 1)],
)
def test_the_length_is_given_where_a_body_is_or_is_expected(method: str, body: bytes, length: int | None) -> None:
    """RFC 9110 section 8.6."""
    head = request_head(request(method=method, body=body))
    assert (b"content-length: %d\r\n" % length in head) if length is not None else (b"content-length" not in head)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GE T"},
        {"method": "GET\r\n"},
        {"method": "CONNECT"},
        {"method": ""},
        {"target": b""},
        {"target": b"v1"},
        {"target": b"http://other/"},
        {"target": b"/a b"},
        {"target": b"/a\r\nx: y"},
        {"target": b"/a\0"},
        {"target": b"/a#b"},
        {"headers": [(b"a", b"b\r\nc: d")]},
        {"headers": [(b"a", b"b\nc")]},
        {"headers": [(b"a", b"b\rc")]},
        {"headers": [(b"a", b"b\0c")]},
        {"headers": [(b"a\r\nb", b"c")]},
        {"headers": [(b"a b", b"c")]},
        {"headers": [(b"a:", b"c")]},
        {"headers": [(b"", b"c")]},
        {"headers": [(b"Host", b"other")]},
        {"headers": [(b"content-length", b"9")]},
        {"headers": [(b"Transfer-Encoding", b"chunked")]},
        {"headers": [(b"connection", b"upgrade")]},
        {"scheme": "ftp"},
        {"host": "x@127.0.0.1:1/"},
        {"host": "a\r\nb"},
        {"host": ""},
        {"host": "bücher.example"},
        {"port": 0},
        {"port": 70000},
    ],
    ids=repr,
)
def test_what_could_split_or_redirect_a_request_is_the_relays_own_fault(changes: dict[str, Any]) -> None:
    """Nothing a client sends may come this far, so it shows as a defect."""
    with pytest.raises(RelayError) as caught:
        request_head(request(**changes))
    assert caught.value.kind is ErrorKind.INTERNAL
    assert "other" not in caught.value.message


@pytest.mark.parametrize("target", [b"/a%2F..%00?x=%zz&y=/?", b"/\xc3\xa4", b"/models/a:stream?alt=sse", b"*"])
def test_a_target_goes_out_byte_for_byte(target: bytes) -> None:
    """Signatures cover these bytes."""
    assert request_head(request(target=target)).startswith(b"POST " + target + b" HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("scheme", "host", "port", "expected"),
    [
        ("https", "a.example", 443, b"a.example"),
        ("http", "a.example", 80, b"a.example"),
        ("http", "a.example", 443, b"a.example:443"),
        ("https", "::1", 8443, b"[::1]:8443"),
        ("http", "fe80::1%eth0", 80, b"[fe80::1]"),
        ("http", "127.0.0.1", 8000, b"127.0.0.1:8000"),
    ],
)
def test_the_port_is_named_where_it_is_not_the_default(scheme: str, host: str, port: int, expected: bytes) -> None:
    """RFC 9110 section 7.2."""
    assert authority(scheme, host, port) == expected
