"""What goes on of an upstream's error answer."""

from __future__ import annotations

import gzip

from relay_trio.api.error_answers import merged_headers, plain_body
from relay_trio.http import ResponseHead


def test_what_describes_body_and_wait_is_ours_and_the_rest_is_theirs() -> None:
    theirs = [
        (b"content-type", b"text/html"),
        (b"content-length", b"9"),
        (b"content-encoding", b"gzip"),
        (b"retry-after", b"3600"),
        (b"x-limit", b"theirs"),
    ]
    ours = [(b"content-type", b"application/json"), (b"x-limit", b"ours"), (b"x-name", b"ours")]
    assert merged_headers(theirs, ours) == [
        (b"x-limit", b"theirs"),
        (b"content-type", b"application/json"),
        (b"x-name", b"ours"),
    ]


def test_a_compressed_body_is_unfolded_as_far_as_it_goes() -> None:
    head = ResponseHead(400, [(b"content-encoding", b"gzip")])
    whole = gzip.compress(b"x" * 1000)
    assert plain_body(head, whole) == b"x" * 1000
    assert plain_body(ResponseHead(400, []), b"x" * 1000) == b"x" * 1000
    assert plain_body(head, b"no gzip") == b""
