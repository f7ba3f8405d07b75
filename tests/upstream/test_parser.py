"""Bytes in, answer out: whole, one byte at a time, cut anywhere, mutated, and compared with h11."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_trio.errors import UpstreamClosed, UpstreamError, UpstreamProtocolError
from relay_trio.upstream.parser import MAX_CHUNK_EXCESS, MAX_FIELDS, MAX_HEAD_BYTES, ResponseParser

LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Parsed:
    """What came of some bytes: ``end`` is "complete", or the name of the error."""

    end: str
    status: int | None
    body: bytes
    is_reusable: bool


def parse(pieces: list[bytes], *, method: str = "POST", eof: bool = True) -> Parsed:
    parser = ResponseParser(method)
    body = b""
    end = "incomplete"
    try:
        for piece in pieces:
            body += parser.feed(piece)
        if eof and not parser.is_complete:
            parser.feed_eof()
    except UpstreamError as error:
        end = type(error).__name__
    if parser.is_complete:
        end = "complete"
    return Parsed(end, parser.head.status if parser.head else None, body, parser.is_reusable)


def bytes_of(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def parse_every_way(data: bytes, **how: object) -> Parsed:
    """Whole, byte by byte and in two: all the same."""
    whole = parse([data], **how)  # type: ignore[arg-type]
    assert parse(bytes_of(data), **how) == whole  # type: ignore[arg-type]
    for cut in range(1, len(data), 7):
        assert parse([data[:cut], data[cut:]], **how) == whole  # type: ignore[arg-type]
    return whole


GOOD = {
    "length": (LINE + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "chunked": (CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: z\r\n\r\n", b"hello", True),
    "until close": (LINE + b"\r\nhello", b"hello", False),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", True),
    "connection: close": (LINE + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
    "h2c offered": (LINE + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
    "interim first": (b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" + LINE + b"Content-Length: 2\r\n\r\nhi", b"hi", True),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_answers_are_read_in_every_cut(name: str) -> None:
    """Status, body, and whether the connection may be used again."""
    data, body, is_reusable = GOOD[name]
    assert parse_every_way(data) == Parsed("complete", 200, body, is_reusable)


BAD = {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "an empty line first": b"\r\n" + LINE + b"Content-Length: 0\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "status 20": b"HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF in a value": LINE + b"a: b\nc: d\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": LINE + b"a: b\rc: d\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 \0OK\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": LINE + b"a: b\0c\r\nContent-Length: 0\r\n\r\n",
    "folded value": LINE + b"a: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space in a name": LINE + b"a : b\r\nContent-Length: 0\r\n\r\n",
    "no name": LINE + b": b\r\nContent-Length: 0\r\n\r\n",
    "no colon": LINE + b"ab\r\nContent-Length: 0\r\n\r\n",
    "length and chunks": LINE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "two lengths": LINE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": LINE + b"Content-Length: 2, 2\r\n\r\nab",
    "signed length": LINE + b"Content-Length: +2\r\n\r\nab",
    "endless length": LINE + b"Content-Length: 99999999999999999999999\r\n\r\nab",
    "gzip coding": LINE + b"Transfer-Encoding: gzip\r\n\r\nab",
    "gzip, chunked": LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": LINE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    "101 without upgrade": b"HTTP/1.1 101 S\r\n\r\nabc",
    "100 with a body": b"HTTP/1.1 100 C\r\nContent-Length: 3\r\n\r\nabc" + LINE + b"\r\n",
    "bad chunk size": CHUNKED + b"-2\r\nhi\r\n",
    "huge chunk size": CHUNKED + b"fffffffffffffffff\r\nhi\r\n",
    "chunk without CR": CHUNKED + b"2\nhi\n0\n\n",
    "length as trailer": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\nabcde",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_plain_http_is_refused_in_every_cut(name: str) -> None:
    """As the upstream's fault, before any body byte."""
    parsed = parse_every_way(BAD[name])
    assert (parsed.end, parsed.body) == ("UpstreamProtocolError", b"")


def test_bytes_before_a_fault_are_handed_out_first() -> None:
    """However they were cut; the fault comes with the next call."""
    parser = ResponseParser("POST")
    assert parser.feed(CHUNKED + b"2\r\nhiXX3\r\n") == b"hi"
    for _ in range(2):
        with pytest.raises(UpstreamProtocolError):
            parser.feed(b"more")
    with pytest.raises(UpstreamProtocolError):
        parser.feed_eof()


@pytest.mark.parametrize("extra", [LINE, b"junk", b"\0", CHUNKED + b"2\r\nhi\r\n"])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_bytes_after_the_answer_spoil_the_connection_not_the_answer(extra: bytes, method: str) -> None:
    """A second answer that nobody asked for is never read."""
    answer = LINE + b"Content-Length: 2\r\n\r\n" + (b"hi" if method == "POST" else b"")
    expected = Parsed("complete", 200, b"hi" if method == "POST" else b"", is_reusable=False)
    assert parse_every_way(answer + extra, method=method) == expected


def test_a_tunnel_has_no_body() -> None:
    """The answer to CONNECT ends with its head; a refusal has a body."""
    assert parse([b"HTTP/1.0 200 Established\r\n\r\n"], method="CONNECT", eof=False).end == "complete"
    assert (
        parse([LINE.replace(b"200", b"407") + b"Content-Length: 2\r\n\r\n"], method="CONNECT").end == "UpstreamClosed"
    )


def test_a_hundred_fields_and_a_long_value_are_read() -> None:
    """Real answers have about 40 fields; cookies and policies are long."""
    head = LINE + b"".join(b"x-%d: %b\r\n" % (i, b"v" * 400) for i in range(120)) + b"Content-Length: 0\r\n\r\n"
    assert parse([head]).end == "complete"


@pytest.mark.parametrize(
    "piece",
    [b"x: y\r\n", b"x: " + b"y" * 900 + b"\r\n", b"y" * 1000, b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\nx: y\r\n"],
    ids=["fields", "long fields", "one line", "interim", "interim fields"],
)
@pytest.mark.parametrize("first", [LINE, b"HTTP/1.1 200 ", b""], ids=["in fields", "in reason", "at start"])
def test_an_endless_head_is_refused(first: bytes, piece: bytes) -> None:
    """Whatever it is made of, within the limits, in reads of any size."""
    if first.endswith(b"200 ") and piece.startswith(b"HTTP"):
        first = LINE  # as a reason phrase it would end the head
    parser = ResponseParser("POST")
    fed = 0
    with pytest.raises(UpstreamProtocolError):
        for data in [first or b"HTTP/1.1 ", *[piece] * 100_000]:
            fed += len(data)
            parser.feed(data)
    assert fed <= MAX_HEAD_BYTES + 1100


def test_a_large_head_in_one_read_is_refused() -> None:
    """The limit on fields holds inside one read too."""
    head = LINE + b"a: b\r\n" * (MAX_FIELDS + 1) + b"Content-Length: 0\r\n\r\n"
    assert parse([head]).end == "UpstreamProtocolError"


@pytest.mark.parametrize("piece", [b"1;" + b"x" * 400 + b"\r\na\r\n", b"y" * 1000], ids=["many", "one"])
def test_endless_chunk_extensions_are_refused(piece: bytes) -> None:
    """They are framing that never becomes data (Go's rule)."""
    parser = ResponseParser("POST")
    parser.feed(CHUNKED + b"1;")
    fed = 0
    with pytest.raises(UpstreamProtocolError, match=r"chunk framing|not valid"):
        for data in [b"x\r\na\r\n" if piece[:1] == b"1" else b"x", *[piece] * 1000]:
            fed += len(data)
            parser.feed(data)
    assert fed <= MAX_CHUNK_EXCESS + 2000


def test_endless_trailers_are_refused() -> None:
    """Trailer fields count as framing."""
    parser = ResponseParser("POST")
    parser.feed(CHUNKED + b"0\r\n")
    with pytest.raises(UpstreamProtocolError):
        for _ in range(1000):
            parser.feed(b"x: " + b"y" * 100 + b"\r\n")


def test_chunks_of_one_byte_are_no_abuse() -> None:
    """A token at a time is what streams are made of."""
    parser = ResponseParser("POST")
    parser.feed(CHUNKED)
    assert b"".join(parser.feed(b"1\r\nx\r\n") for _ in range(50_000)) == b"x" * 50_000


# --- against h11 --------------------------------------------------------------------------------------------------


def parse_with_h11(data: bytes) -> Parsed:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    status, body, end = None, b"", "incomplete"
    try:
        for piece in (data, b""):
            connection.receive_data(piece)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return Parsed("complete", status, body, is_reusable=False)
                elif isinstance(event, h11.ConnectionClosed):
                    return Parsed("incomplete", status, body, is_reusable=False)
    except h11.RemoteProtocolError:
        end = "error"
    return Parsed(end, status, body, is_reusable=False)


SEEDS = [data for data, _, _ in GOOD.values()] + list(BAD.values())
SPLICES = [b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"0", b"1", b"f", b";", b",", b"\xff", b"\r\n\r\n", LINE]
SPLICES += [
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"HTTP/1.1 100 C\r\n\r\n",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 2, 9])))
        data = data[:start] + draw(st.sampled_from(SPLICES) | st.binary(max_size=3)) + data[end:]
    return data


@settings(max_examples=6 * settings().max_examples, deadline=None)
@given(mutated(), st.lists(st.integers(0, 200), max_size=6))
def test_mutated_answers_are_read_as_h11_reads_them_or_refused(data: bytes, cuts: list[int]) -> None:
    """Never another exception, never another body: two readers that differ are how answers are smuggled."""
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(places) if a < b]
    parsed = parse(pieces)
    assert parsed == parse([data] if data else []), "the cut must not matter"
    if parsed.end == "complete":
        expected = parse_with_h11(data)
        assert (expected.end, expected.status, expected.body) == ("complete", parsed.status, parsed.body)
    else:
        assert parsed.end in (UpstreamClosed.__name__, UpstreamProtocolError.__name__)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.sampled_from(["POST", "HEAD", "CONNECT"]))
def test_garbage_raises_our_errors_only(pieces: list[bytes], method: str) -> None:
    """With and without a good head before it."""
    for first in (b"", LINE, CHUNKED):
        parse([*([first] if first else []), *pieces], method=method)
