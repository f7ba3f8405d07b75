from __future__ import annotations

import itertools

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.server.h2_frames import (
    DATA,
    GOAWAY,
    PING,
    PROTOCOL_ERROR,
    BlockDecoder,
    Budget,
    Frame,
    FrameSplitter,
    FrameTooLarge,
    are_trailers,
    goaway_code,
    goaway_frame,
    is_idle_talk,
    read_request,
    settings_frame,
)

SAMPLE = settings_frame() + goaway_frame(7, 13) + b"\x00\x00\x03\x00\x01\x00\x00\x00\x05abc"


@given(st.lists(st.integers(0, len(SAMPLE)), max_size=5))
def test_any_split_gives_the_same_frames(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SAMPLE)]
    splitter = FrameSplitter()
    frames = [frame for a, b in itertools.pairwise(edges) for frame in splitter.feed(SAMPLE[a:b])]
    assert [(frame.type, frame.flags, frame.stream_id) for frame in frames] == [(4, 0, 0), (7, 0, 0), (0, 1, 5)]
    assert b"".join(frame.raw for frame in frames) == SAMPLE
    assert goaway_code(frames[1]) == 13


def test_a_large_frame_is_refused_by_its_header_alone() -> None:
    with pytest.raises(FrameTooLarge):
        list(FrameSplitter().feed(b"\x00\x40\x01\x00\x00\x00\x00\x00\x01"))


def test_a_truncated_goaway_counts_as_an_error() -> None:
    assert goaway_code(Frame(GOAWAY, 0, 0, b"\0" * 12)) == PROTOCOL_ERROR


def test_acknowledgements_and_ends_are_not_idle_talk() -> None:
    assert is_idle_talk(Frame(PING, 0, 0, b"\0" * 17))
    assert not is_idle_talk(Frame(PING, 1, 0, b"\0" * 17))
    assert is_idle_talk(Frame(DATA, 0, 1, b"\0" * 9))
    assert not is_idle_talk(Frame(DATA, 1, 1, b"\0" * 9))


def test_a_budget_fills_up_again_with_time() -> None:
    budget = Budget(2, 10, now=0.0)
    assert [budget.spend(0.0) for _ in range(3)] == [True, True, False]
    assert budget.spend(0.3)


GOOD = [(b":method", b"POST"), (b":path", b"/a?b"), (b":scheme", b"http"), (b":authority", b"host")]


def test_a_request_is_read_with_its_host_first() -> None:
    request = read_request([*GOOD, (b"x-api-key", b"k"), (b"content-length", b"7")], has_body=True)
    assert request is not None
    assert (request.method, request.raw_path, request.query) == ("POST", b"/a", b"b")
    assert request.headers[0] == (b"host", b"host")
    assert (request.has_body, request.content_length, request.http_version) == (True, 7, "2")


@pytest.mark.parametrize("has_body", [True, False])
def test_only_a_client_that_has_a_body_to_send_waits_to_be_asked_for_it(has_body: bool) -> None:
    request = read_request([*GOOD, (b"expect", b"100-continue")], has_body=has_body)
    assert request is not None
    assert request.expects_continue is has_body


@pytest.mark.parametrize(
    "block",
    [
        [(b":method", b"CONNECT"), (b":authority", b"a:1")],
        [(b":method", b"P\xc3\x96ST"), *GOOD[1:]],
        [GOOD[0], (b":path", b"/\xc3\xa4"), *GOOD[2:]],
        [GOOD[0], (b":path", b"*"), *GOOD[2:]],
        [GOOD[0], (b":path", b""), *GOOD[2:]],
        [GOOD[0], (b":path", b"http://a/"), *GOOD[2:]],
        GOOD[:3],
        [*GOOD, (b"host", b"another")],
        [*GOOD, (b"Upper", b"x")],
        [*GOOD, (b"", b"x")],
        [*GOOD, (b"a:b", b"x")],
        [*GOOD, (b"x", b" a")],
        [*GOOD, (b"x", b"a\t")],
        [*GOOD, (b"te", b"gzip")],
        *([*GOOD, (name, b"x")] for name in (b"connection", b"keep-alive", b"transfer-encoding", b"upgrade")),
        [*GOOD, GOOD[0]],
        [*GOOD, (b":protocol", b"websocket")],
        [*GOOD, (b":status", b"200")],
        [*GOOD[:3], (b"x", b"a"), GOOD[3]],
        [*GOOD[:3], (b"host", b"host"), GOOD[3]],
        [*GOOD[:2], GOOD[3]],
        [*GOOD, (b"content-length", b"5")],
        [*GOOD, (b"x", b"a\r\nb")],
        [*GOOD, (b"x", b"a\x00b")],
        [*GOOD, (b"content-length", b"1_000")],
        [*GOOD, (b"content-length", b"+5")],
        [*GOOD, (b"content-length", b"")],
        [*GOOD, (b"content-length", b"5"), (b"content-length", b"5")],
    ],
)
def test_a_malformed_request_is_none(block: list[tuple[bytes, bytes]]) -> None:
    assert read_request(block, has_body=False) is None


def test_h2_is_given_no_field_and_the_table_stays_in_step() -> None:
    encoder, decoder = hpack.Encoder(), BlockDecoder()
    for block in ([(b"X-Upper", b"y"), (b":status", b"100")], GOOD, [(b"content-length", b"?")], []):
        assert list(decoder.decode(encoder.encode(block), raw=True)) == []
        assert decoder.block == block


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([], True),
        ([(b"x-sum", b"1"), (b"te", b"trailers")], True),
        ([(b"X-Sum", b"1")], False),
        ([(b":path", b"/")], False),
        ([(b"x-sum", b"1\n")], False),
        ([(b"connection", b"close")], False),
        ([(b"x-sum", b"1"), (b"te", b"gzip")], False),
    ],
)
def test_trailers_are_fields(block: list[tuple[bytes, bytes]], *, expected: bool) -> None:
    assert are_trailers(block) is expected
