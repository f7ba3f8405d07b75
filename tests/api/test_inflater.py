"""Compressed bodies are looked into without ever failing or growing."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api import inflater as inflating
from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.inflater import InflatedReader, Inflater, inflater_for
from relay_trio.api.metering import UsageFold
from relay_trio.api.position import WHOLE
from relay_trio.api.whole_reader import WholeReader
from relay_trio.errors import UpstreamProtocolError
from relay_trio.http import ResponseHead
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from tests.support.cuts import cuts

TEXT = b"data: hello\n\n" * 20


@pytest.mark.parametrize("body", [gzip.compress(TEXT), zlib.compress(TEXT)], ids=["gzip", "zlib"])
def test_cut_anywhere_a_compressed_body_unfolds_to_the_same(body: bytes) -> None:
    for pieces in cuts(body):
        inflater = Inflater()
        assert b"".join(map(inflater.feed, pieces)) == TEXT
        assert inflater.is_readable


def test_a_body_that_is_not_compressed_turns_out_unreadable_and_stays_so() -> None:
    inflater = Inflater()
    assert inflater.feed(b"event: message_start") == b""
    assert not inflater.is_readable
    assert inflater.feed(gzip.compress(TEXT)) == b""


def test_damage_in_the_middle_keeps_what_was_read_before() -> None:
    body = bytearray(gzip.compress(TEXT))
    inflater = Inflater()
    inflater.feed(bytes(body[:20]))
    body[-6] ^= 0xFF  # the checksum
    inflater.feed(bytes(body[20:]))
    assert not inflater.is_readable


def test_a_bomb_is_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "_INFLATED_BYTES_MAX", 100_000)
    inflater = Inflater()
    assert len(inflater.feed(gzip.compress(b" " * 50_000_000))) <= 100_000
    assert not inflater.is_readable
    assert inflater.feed(b"more") == b""


def test_bytes_after_the_end_are_not_kept() -> None:
    """An upstream that goes on after its gzip member must not make the reader grow: it has no limit of its own."""
    inflater = Inflater()
    inflater.feed(gzip.compress(TEXT))
    tracemalloc.start()
    try:
        for _ in range(32):
            inflater.feed(b"\0" * 65_536)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000


def test_a_body_of_several_gzip_members_is_read_whole() -> None:
    """RFC 1952 section 2.2: members follow each other with nothing between. A last event in the second one, unseen,
    would make a whole answer look cut."""
    inflater = Inflater()
    assert inflater.feed(gzip.compress(TEXT) + gzip.compress(b"event: last\n\n")) == TEXT + b"event: last\n\n"


@given(st.binary(max_size=200))
def test_whatever_comes_the_inflater_does_not_raise(data: bytes) -> None:
    inflater = Inflater()
    inflater.feed(data)
    inflater.feed(data)


# --- the reader ---------------------------------------------------------------------------------------------------

BODY = gzip.compress(b'{"usage": {"in": 3}}')


def reader() -> InflatedReader:
    return InflatedReader(
        WholeReader("usage", lambda: UsageFold({"in": "input_tokens"}), lambda document: None), Inflater()
    )


def test_the_client_gets_the_compressed_bytes_and_the_reader_what_they_hold() -> None:
    for pieces in cuts(BODY):
        answer = reader()
        assert [answer.feed(piece) for piece in pieces] == pieces
        assert answer.finish() == UsageStats(3, source=UsageSource.EXACT)
        assert (answer.is_complete, answer.error) == (True, None)


def test_nothing_can_be_added_to_compressed_bytes() -> None:
    assert reader().position is WHOLE


def test_a_body_that_cannot_be_inflated_has_no_usage_and_counts_as_complete() -> None:
    answer = reader()
    answer.feed(BODY[:-8] + b"damaged!")
    assert answer.finish() == NO_USAGE
    assert answer.is_complete


def checked(accepted: bytes) -> CheckedRequest:
    return CheckedRequest("o", "GET", b"/", b"", [(b"accept-encoding", accepted)], b"")


def encoded(encoding: bytes) -> ResponseHead:
    return ResponseHead(200, [(b"content-encoding", encoding)])


def test_only_what_is_compressed_needs_an_inflater() -> None:
    assert inflater_for(ResponseHead(200, []), checked(b"gzip")) is None
    assert inflater_for(encoded(b"Identity"), checked(b"gzip")) is None
    assert inflater_for(encoded(b"gzip"), checked(b"br, GZIP")) is not None


@pytest.mark.parametrize(
    ("encoding", "request_"),
    [(b"br", checked(b"gzip, br")), (b"gzip", checked(b""))],
)
def test_an_encoding_that_the_request_did_not_accept_is_the_upstreams_error(
    encoding: bytes, request_: CheckedRequest
) -> None:
    with pytest.raises(UpstreamProtocolError, match="did not accept"):
        inflater_for(encoded(encoding), request_)
