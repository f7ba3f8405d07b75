"""Heads and frames as bytes."""

from __future__ import annotations

import json

from relay_trio.simulator.effects import cut_bytes
from relay_trio.simulator.script import Ending, Framing, Script, Usage, frame, whole


def test_a_head_tells_the_framing_and_whether_the_connection_lives() -> None:
    head = Script(529, [(b"x", b"y")]).head(is_last_on_connection=True)
    assert head == b"HTTP/1.1 529 Overloaded\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    assert (
        whole(599, [], b"ab").head(is_last_on_connection=False) == b"HTTP/1.1 599 Status\r\ncontent-length: 2\r\n\r\n"
    )


def test_a_chunked_body_ends_with_the_empty_chunk_and_trailers_and_no_frame_looks_like_it() -> None:
    script = Script(200, [], trailers=[(b"x", b"y")])
    assert script.terminator() == b"0\r\nx: y\r\n\r\n"
    script.framing = Framing.CLOSE
    assert script.terminator() == b""
    assert frame(b"").chunk == b""
    assert frame(b"x" * 16).chunk == b"10\r\n" + b"x" * 16 + b"\r\n"


def test_the_usage_of_a_document_is_known_once_its_member_is_there() -> None:
    """A reader of a document that is cut behind it has counted it."""
    body = json.dumps(
        {"text": '"usage": é', "usage": {"output": {"tokens": 5}}, "id": "x"}, ensure_ascii=False
    ).encode()
    known = body.index(b"}}") + 2
    for cut, usage in ((known - 1, None), (known, Usage(0, 5)), (len(body), Usage(0, 5))):
        script = whole(200, [], body, usage=Usage(0, 5), member="usage")
        cut_bytes(script, cut, Ending.CLOSE)
        (piece,) = script.frames
        assert (piece.usage, piece.known_after_bytes) == (usage, known)


def test_a_usage_that_the_head_holds_is_known_before_the_body() -> None:
    """Also of a body that is cut before its member."""
    script = whole(200, [], b'{"usage": 1}', usage=Usage(0, 5), member="usage", is_usage_in_head=True)
    cut_bytes(script, 3, Ending.CLOSE)
    (piece,) = script.frames
    assert (piece.usage, piece.known_after_bytes) == (Usage(0, 5), 0)
