"""Heads and frames as bytes."""

from __future__ import annotations

from relay_trio.simulator.script import Framing, Script, frame, whole


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
