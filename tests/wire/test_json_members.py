"""Top-level members without building the object: agreement with ``json``, any cut, and limits."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.wire.json_members import JsonLimitError, MemberScanner
from tests.support.cuts import cuts

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def scan(pieces: list[bytes], *wanted: str, max_depth: int = 64, max_tokens: int | None = 1000) -> MemberScanner:
    scanner = MemberScanner(frozenset(wanted), max_depth=max_depth, max_tokens=max_tokens)
    for piece in pieces:
        scanner.feed(piece)
    return scanner


@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["model", "usage"]), json_values, max_size=6))
def test_the_members_are_those_that_json_reads_at_any_cut(value: dict[str, object]) -> None:
    for ascii_only in (True, False):
        for indent in (None, 1):
            wire = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
            for pieces in cuts(wire, drawn=2):
                scanner = scan(pieces, *value)
                assert scanner.is_object
                assert scanner.is_whole
                assert not scanner.duplicates
                found = {name: json.loads(raw) for name, raw in scanner.members.items()}
                assert found == {k: v for k, v in value.items() if k in found}
                if all(c < "\ud800" or c > "\udfff" for name in value for c in name):
                    assert found == value


def test_a_nested_member_of_the_same_name_is_not_taken() -> None:
    wire = b'{"a": {"usage": 1, "x": ["usage", {"usage": 2}]}, "usage": {"n": 3}, "b": "\\"usage\\": 4"}'
    for pieces in cuts(wire):
        assert scan(pieces, "usage").members == {"usage": b'{"n": 3}'}


@pytest.mark.parametrize("wire", [b'{"model": 1, "model": 2}', b'{"model": 1, "mod\\u0065l": 2}'])
def test_a_name_given_twice_is_reported_however_it_is_written(wire: bytes) -> None:
    for pieces in cuts(wire):
        assert scan(pieces, "model").duplicates == ["model"]


@pytest.mark.parametrize("wire", [b"[1]", b'"text"', b"", b"12", b'[{"model": 1}]'])
def test_what_is_no_object_is_known(wire: bytes) -> None:
    assert not scan([wire], "model").is_object


@pytest.mark.parametrize("wire", [b'{"a": 1', b'{"a": "x', b'{"a": [1}', b'{"a": "\\'])
def test_an_unfinished_object_is_not_whole(wire: bytes) -> None:
    scanner = MemberScanner(frozenset({"a"}))
    with suppress(JsonLimitError):  # brackets that do not match are refused at once
        scanner.feed(wire)
    assert not scanner.is_whole


def test_deep_nesting_is_refused_while_it_is_read() -> None:
    with pytest.raises(JsonLimitError, match="deeper than 64"):
        scan([b'{"a":' + b"[" * 100_000], "a")


def test_too_many_values_are_refused_while_they_are_read() -> None:
    with pytest.raises(JsonLimitError, match="more than 1000"):
        scan([b'{"a":[' + b"1," * 100_000], "a")


def test_brackets_and_commas_inside_strings_do_not_count() -> None:
    wire = json.dumps({"a": "[{,}]" * 10_000 + '\\"', "model": "m"}).encode()
    assert scan([wire], "model", max_depth=1, max_tokens=2).members == {"model": b'"m"'}


def test_a_value_beyond_the_limit_is_dropped_and_the_next_one_is_read() -> None:
    wire = json.dumps({"usage": "x" * 70_000, "model": "m"}).encode()
    assert scan([wire], "usage", "model").members == {"model": b'"m"'}


@given(st.binary(max_size=100))
def test_garbage_never_raises_anything_but_the_limit_error(wire: bytes) -> None:
    for pieces in cuts(wire, drawn=2):
        try:
            scan(pieces, "a")
        except JsonLimitError:
            return
