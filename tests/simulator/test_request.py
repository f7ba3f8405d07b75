"""Requests are the same however their bytes were cut."""

from __future__ import annotations

import pytest

from relay_trio.simulator.request import Request, RequestReader, document_of

WIRE = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: x\r\nX-Api-Key: k\r\ncontent-length: 4\r\n\r\nbody"
    b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    b"GET /a%2Fb HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
)


def read(wire: bytes, size: int, limit: int = 1000) -> list[Request]:
    reader = RequestReader(limit)
    for start in range(0, len(wire), size):
        reader.feed(wire[start : start + size])
    return reader.requests


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_requests_are_the_same_in_pieces_of_any_size(size: int) -> None:
    first, second, third = read(WIRE, size)
    assert (first.method, first.path, first.query, first.body) == ("POST", b"/v1/messages", b"beta=true", b"body")
    assert first.header(b"x-api-key") == b"k"
    assert (second.body, second.is_kept_alive) == (b"onetwo", True)
    assert (third.target, third.is_kept_alive) == (b"/a%2Fb", False)


@pytest.mark.parametrize("wire", [b"\x00\x01\x02", b"GET\r\n\r\n", WIRE[:40] + b"\n\n\x00"])
def test_garbage_never_raises(wire: bytes) -> None:
    reader = RequestReader(1000)
    reader.feed(wire)
    reader.feed(b"more")
    assert reader.is_broken
    assert reader.requests == []


def test_a_body_above_the_limit_is_told_once_with_and_without_a_length() -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\n"
    for wire in (
        head + b"content-length: 50\r\n\r\n" + b"x" * 50,
        head + b"transfer-encoding: chunked\r\n\r\n32\r\n" + b"x" * 50 + b"\r\n0\r\n\r\n",
    ):
        (request,) = read(wire, 10, limit=20)
        assert (request.is_too_large, request.is_kept_alive) == (True, False)


@pytest.mark.parametrize(
    ("body", "document"), [(b'{"a": 1}', {"a": 1}), (b"", None), (b"[]", None), (b"{", None), (b"[" * 100_000, None)]
)
def test_a_body_is_one_object_or_none(body: bytes, document: object) -> None:
    assert document_of(Request("POST", b"/", [], body, True)) == document
