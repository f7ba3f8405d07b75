from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.server.request_body import BadRequestBody, ChunkedBody, SizedBody

SAMPLE = b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n"


def feed(parts: list[bytes]) -> tuple[bytes, bytes, bool]:
    decoder = ChunkedBody()
    content = rest = b""
    for part in parts:
        if decoder.is_done:
            rest += part
            continue
        got, left = decoder.feed(part)
        content += got
        rest += left
    return content, rest, decoder.is_done


def test_whole_and_byte_by_byte_give_the_same_body() -> None:
    data = SAMPLE + NEXT
    expected = (b"abc0123456789", NEXT, True)
    assert feed([data]) == expected
    assert feed([data[n : n + 1] for n in range(len(data))]) == expected


@given(st.lists(st.integers(0, len(SAMPLE + NEXT)), max_size=6))
def test_any_split_gives_the_same_body(cuts: list[int]) -> None:
    data = SAMPLE + NEXT
    edges = [0, *sorted(cuts), len(data)]
    assert feed([data[a:b] for a, b in itertools.pairwise(edges)]) == (b"abc0123456789", NEXT, True)


@pytest.mark.parametrize(
    "data",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcX\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"\r\n",
        b"G\r\n",
        b"-1\r\n",
        b"123456789\r\n",
        b"3;\x00\r\nabc\r\n",
        b"3;a=\n\r\nabc\r\n",
        b"1" * 300,
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
        b"0\r\nX: " + b"y" * 9000,
    ],
)
def test_one_spelling_only(data: bytes) -> None:
    for parts in ([data], [data[n : n + 1] for n in range(len(data))]):
        with pytest.raises(BadRequestBody):
            feed(parts)


@given(st.binary(max_size=200))
def test_garbage_parses_or_raises_our_error(data: bytes) -> None:
    with contextlib.suppress(BadRequestBody):
        feed([data])


def test_a_sized_body_leaves_the_rest() -> None:
    decoder = SizedBody(5)
    assert decoder.feed(b"abc") == (b"abc", b"")
    assert not decoder.is_done
    assert decoder.feed(b"defgh") == (b"de", b"fgh")
    assert decoder.is_done
