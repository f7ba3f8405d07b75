from __future__ import annotations

import re

import pytest

from relay_trio.server.response_head import (
    BadResponse,
    Framing,
    check_fields,
    date_value,
    encode_refusal,
    encode_response_head,
    forbids_body,
)


def test_framing_headers_of_the_application_are_ours_to_say() -> None:
    fields, length, wants_close = check_fields(
        [(b"Content-Type", b"text/plain"), (b"Transfer-Encoding", b"chunked"), (b"Connection", b"Close")]
    )
    assert (fields, length, wants_close) == ([(b"content-type", b"text/plain")], None, True)


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\x00"),
        (b"x y", b"a"),
        (b"", b"a"),
        (b"x\r\n", b"a"),
        (b":status", b"200"),
        (b"content-length", b"-1"),
        (b"content-length", b"1, 1"),
    ],
)
def test_what_would_split_the_response_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadResponse):
        check_fields([header])


def test_two_lengths_must_agree() -> None:
    assert check_fields([(b"content-length", b"3"), (b"Content-Length", b"3")])[1] == 3
    with pytest.raises(BadResponse):
        check_fields([(b"content-length", b"3"), (b"content-length", b"4")])


def test_a_head_has_a_date_of_its_own_or_the_applications() -> None:
    head = encode_response_head(200, [(b"a", b"b")], 3, Framing.SIZED, None)
    assert head == b"HTTP/1.1 200 OK\r\na: b\r\ndate: %b\r\ncontent-length: 3\r\n\r\n" % date_value()
    assert encode_response_head(299, [(b"date", b"x")], None, Framing.CHUNKED, b"close") == (
        b"HTTP/1.1 299 Unknown\r\ndate: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    assert b"content-length" not in encode_response_head(204, [], 3, Framing.NO_BODY, None)


def test_a_refusal_is_a_whole_response() -> None:
    head, _, body = encode_refusal(400, "why").partition(b"\r\n\r\n")
    assert body == b"why\n"
    assert re.search(rb"content-length: 4\r\nconnection: close$", head)


def test_some_responses_have_no_body() -> None:
    assert forbids_body("HEAD", 200)
    assert forbids_body("GET", 204)
    assert forbids_body("GET", 304)
    assert not forbids_body("GET", 200)
