"""The reader of whole documents: the usage is found wherever it stands, and large documents are not held."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from relay_trio.api.metering import UsageFold
from relay_trio.api.whole_reader import WholeReader
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from tests.support.cuts import cuts

USAGE = {"in": 3, "out": 4}
FOUND = UsageStats(3, 4, source=UsageSource.EXACT)


def reader() -> WholeReader:
    return WholeReader(
        "usage", lambda: UsageFold({"in": "input_tokens", "out": "output_tokens"}), lambda document: None
    )


def read(*pieces: bytes) -> UsageStats:
    answer = reader()
    for piece in pieces:
        assert answer.feed(piece) == piece
    return answer.finish()


@pytest.mark.parametrize(
    "document",
    [
        {"usage": USAGE, "text": "a" * 9},
        {"text": '"usage": {"in": 9}', "usage": USAGE},
        {"a": {"usage": 1}, "usage": USAGE},
    ],
)
def test_the_usage_is_found_wherever_it_stands_at_every_cut(document: object) -> None:
    for pieces in cuts(json.dumps(document).encode()):
        assert read(*pieces) == FOUND


@pytest.mark.parametrize("size", [70_000, 200_000])
def test_a_large_document_is_scanned_with_the_same_result(size: int) -> None:
    for document in ({"usage": USAGE, "text": "a" * size}, {"text": "a" * size, "usage": USAGE}):
        body = json.dumps(document).encode()
        assert read(*(body[at : at + 8192] for at in range(0, len(body), 8192))) == FOUND


def test_a_large_document_is_not_held() -> None:
    answer = reader()
    answer.feed(b'{"text": "')
    tracemalloc.start()
    try:
        for _ in range(200):
            answer.feed(b"a" * 65_536)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 300_000


def test_a_document_cut_after_its_usage_has_a_partial_one() -> None:
    whole = json.dumps({"usage": USAGE, "text": "abc"}).encode()
    assert read(whole[:-5]) == UsageStats(3, 4, source=UsageSource.PARTIAL)
    assert read(whole[:15]) == NO_USAGE


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"usage": 3}', b'{"usage": {"in": -1}}', b"[" * 5000])
def test_a_document_without_a_usable_usage_has_none(body: bytes) -> None:
    assert read(body) == NO_USAGE


def test_finishing_twice_gives_the_same() -> None:
    answer = reader()
    answer.feed(json.dumps({"usage": USAGE}).encode())
    assert answer.finish() == answer.finish() == FOUND
