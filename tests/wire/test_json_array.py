"""Elements of a streamed JSON array: agreement with ``json``, any cut, broken arrays, and bounds."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.wire.json_array import JsonArrayElements
from relay_trio.wire.wire_error import WireError
from tests.support.cuts import cuts
from tests.support.sse import sse_events

if TYPE_CHECKING:
    from pathlib import Path

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"', "\\", "}", "{", '\\"', "]", "[{"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
elements_drawn = st.lists(st.dictionaries(st.text(max_size=5), json_values, max_size=3), max_size=5)


def split(pieces: list[bytes], max_element_bytes: int = 1 << 20) -> tuple[list[bytes], JsonArrayElements]:
    array = JsonArrayElements(max_element_bytes)
    elements = [element for piece in pieces for element in array.feed(piece)]
    assert array.damage is None
    return elements, array


@given(elements_drawn, st.sampled_from([b",", b",\r\n", b"\n,\n", b" ,\t"]), st.sampled_from([None, 2]))
def test_the_elements_are_those_that_json_reads_at_any_cut(
    values: list[dict[str, object]], comma: bytes, indent: int | None
) -> None:
    for ascii_only in (True, False):
        parts = [json.dumps(v, ensure_ascii=ascii_only, indent=indent).encode(errors="surrogatepass") for v in values]
        wire = b" [ " + comma.join(parts) + b"\r\n]\n"
        for pieces in cuts(wire, drawn=2):
            elements, array = split(pieces)
            assert elements == parts
            assert array.is_complete
            assert array.is_array
            assert not array.is_mid_element


def streams_of(corpus: Path) -> list[list[bytes]]:
    """The chunks of each recorded Gemini stream, which came as server-sent events."""
    found = []
    for place in ("recordings/gemini/sse-*.body", "recordings/vertex/sse-*.body", "firebase-gemini/*success*.txt"):
        for file in sorted(corpus.glob(place)):
            wire = file.read_bytes() + b"\n\n"
            found.append([event.data.encode() for event in sse_events(wire)])
    fixtures = sorted(corpus.glob("vercel-ai-fixtures/google/*.chunks.txt"))
    found += [file.read_bytes().splitlines() for file in fixtures]
    return [chunks for chunks in found if chunks and all(chunk.startswith(b"{") for chunk in chunks)]


def test_recorded_chunks_in_an_array_come_out_at_any_cut(corpus: Path) -> None:
    """No recording of the array form is public, so it is made from recorded chunks, as Google's servers join them."""
    streams = streams_of(corpus)
    assert len(streams) > 15
    for chunks in streams:
        wire = b"[" + b"\n,\r\n".join(chunks) + b"\n]\n"
        for pieces in cuts(wire, drawn=2):
            elements, array = split(pieces)
            assert elements == [chunk.strip() for chunk in chunks]
            assert array.is_complete


def test_an_error_before_the_stream_is_one_object(corpus: Path) -> None:
    files = sorted((corpus / "firebase-gemini").glob("*unary-failure*.json"))
    assert len(files) > 8
    for file in files:
        wire = file.read_bytes()
        for pieces in cuts(wire, drawn=2):
            elements, array = split(pieces)
            assert elements == [wire.strip()]
            assert array.is_complete
            assert not array.is_array
            assert array.joint is None


@pytest.mark.parametrize(
    ("wire", "joint", "is_array"),
    [
        (b"", b"[", False),
        (b" \r\n", b"[", False),
        (b"[", b"", True),
        (b"[\n", b"", True),
        (b"[{", None, True),
        (b'[{"a": "]', None, True),
        (b'[{"a": "}\\', None, True),
        (b"[{}", b",", True),
        (b"[{}\r\n", b",", True),
        (b"[{}\r\n,", b"", True),
        (b"[{},\r\n", b"", True),
        (b"[{},{}", b",", True),
        (b"[{},{", None, True),
        (b"[{}]", None, True),
        (b"[]", None, True),
        (b"{", None, False),
        (b"{} ", None, False),
    ],
)
def test_a_relay_knows_how_to_end_an_array_that_was_broken_there(
    wire: bytes, joint: bytes | None, is_array: bool
) -> None:
    error = b'{"error": {"code": 503}}'
    for pieces in cuts(wire):
        _, array = split(pieces)
        assert array.joint == joint
        assert array.is_array is is_array
        assert array.is_complete is (wire in (b"[{}]", b"[]", b"{} "))
        assert array.is_mid_element is (joint is None and not array.is_complete)
        if joint is not None:
            assert array.feed(joint + error + b"]") == [error]
            assert array.is_complete
            assert json.loads(wire + joint + error + b"]")[-1] == json.loads(error)


@pytest.mark.parametrize(
    ("wire", "expected", "elements"),
    [
        (b"x", r"\[ or an object", 0),
        (b"\xef\xbb\xbf[{}]", r"\[ or an object", 0),
        (b'data: {"a": 1}', r"\[ or an object", 0),
        (b"]", r"\[ or an object", 0),
        (b"[1]", "an object or ]", 0),
        (b"[[{}]]", "an object or ]", 0),
        (b"[,", "an object or ]", 0),
        (b"[{}{}]", ", or ]", 1),
        (b"[{}}]", ", or ]", 1),
        (b'[{}"a"]', ", or ]", 1),
        (b"[{},]", "an object", 1),
        (b"[{},,{}]", "an object", 1),
        (b"[{},{},null]", "an object", 2),
        (b"[{}] x", "nothing more", 1),
        (b"[{}],", "nothing more", 1),
        (b"{}\n{}", "nothing more", 1),
    ],
)
def test_damage_is_raised_after_the_elements_before_it(wire: bytes, expected: str, elements: int) -> None:
    for pieces in cuts(wire):
        array = JsonArrayElements()
        found = []
        with pytest.raises(WireError, match=f"expected {expected}, something else came"):
            for piece in [*pieces, b""]:
                found += array.feed(piece)
        assert len(found) == elements
        assert array.damage is not None
        assert array.joint is None
        with pytest.raises(WireError):
            array.feed(b"")


def test_an_element_beyond_the_limit_is_dropped_and_counted_and_the_next_one_is_read() -> None:
    large = b'{"a": "\\"}\\\\", "b": {"c": [{}]}}'
    wire = b"[{}," + large + b',{"d":1}]'
    for limit, dropped in ((len(large) - 1, 1), (8, 1), (len(large), 0)):
        for pieces in cuts(wire):
            elements, array = split(pieces, limit)
            assert elements == [b"{}", *([] if dropped else [large]), b'{"d":1}']
            assert array.oversized == dropped
            assert array.is_complete


@pytest.mark.parametrize(
    "endless", [b"x" * 1000, b"\\n" * 500, b'","' * 300, b'":{"' * 250, b'":{},"' * 100], ids=lambda piece: piece[:6]
)
def test_an_element_without_an_end_holds_no_more_than_the_limit(endless: bytes) -> None:
    array = JsonArrayElements(4000)
    array.feed(b'[{"')
    tracemalloc.start()
    try:
        for _ in range(300):
            array.feed(endless)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()
    assert array.oversized == 1
    assert array.is_mid_element


def test_an_element_with_an_image_is_held_without_it_and_what_stands_behind_it_is_read() -> None:
    wire = b'[{"image": "\\u0041' + b"QUJD" * 10_000_000 + b'", "count": 12}, {"next": 1}]'
    pieces = [wire[at : at + 65_536] for at in range(0, len(wire), 65_536)]
    array = JsonArrayElements()
    tracemalloc.start()
    try:
        image, following = [element for piece in pieces for element in array.feed(piece)]
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert json.loads(image)["count"] == 12
    assert following == b'{"next": 1}'
    assert array.oversized == 0


def in_tens(wire: bytes) -> list[bytes]:
    return [wire[at : at + 10] for at in range(0, len(wire), 10)]


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ([b"[" + b"{}," * 3_000], [b"[" + b"{}," * 30_000]),
        (in_tens(b'[{"' + b"x" * 50_000), in_tens(b'[{"' + b"x" * 500_000)),
        (in_tens(b'[{"' + b'\\"' * 25_000), in_tens(b'[{"' + b'\\"' * 250_000)),
        (in_tens(b"[" + b'{"a":' * 10_000), in_tens(b"[" + b'{"a":' * 100_000)),
        (in_tens(b"[{" + b'"a",' * 12_000), in_tens(b"[{" + b'"a",' * 120_000)),
    ],
    ids=["elements in one feed", "one string", "escapes", "nested", "strings"],
)
def test_ten_times_the_bytes_take_no_more_than_thirty_times_the_time(few: list[bytes], many: list[bytes]) -> None:
    """They take ten; it would be a hundred if an element were scanned, or copied, again for each piece."""

    def seconds(pieces: list[bytes]) -> float:
        begin = time.process_time()
        split(pieces)
        return time.process_time() - begin

    assert min(seconds(many) for _ in range(2)) < 30 * min(seconds(few) for _ in range(3))
