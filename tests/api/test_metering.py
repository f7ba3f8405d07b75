"""Folding usage figures, and looking into compressed bodies, without ever failing or growing."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api import metering
from relay_trio.api.metering import Inflater, NullMeter, UsageFold
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from tests.cuts import cuts

FIELDS = {"in": "input_tokens", "out": "output_tokens", "cached": "cache_read_tokens"}


def folded(*usages: object) -> UsageStats:
    fold = UsageFold(FIELDS)
    for usage in usages:
        fold.overwrite(usage)
    return fold.stats(UsageSource.EXACT)


# --- folding ------------------------------------------------------------------------------------------------------


def test_nothing_seen_is_no_usage_whatever_the_source() -> None:
    assert folded() == NO_USAGE
    assert folded({"other": 3}) == NO_USAGE


def test_a_later_figure_overwrites_and_is_neither_added_nor_the_larger() -> None:
    assert folded({"in": 100, "out": 1}, {"in": 60, "out": 7}) == UsageStats(60, 7, source=UsageSource.EXACT)


def test_a_figure_that_is_missing_or_null_keeps_the_earlier_one() -> None:
    assert folded({"in": 5, "out": 1}, {"out": 2}, {"in": None}) == UsageStats(5, 2, source=UsageSource.EXACT)


def test_an_explicit_zero_overwrites() -> None:
    assert folded({"in": 5}, {"in": 0}).input_tokens == 0
    assert folded({"in": 0}).source is UsageSource.EXACT


@pytest.mark.parametrize("figure", [-1, 2**53 + 1, 1.5, "3", True, [1], {}])
def test_a_figure_that_is_no_count_makes_the_whole_record_unusable(figure: object) -> None:
    """A wrong bill is worse than none, and a good figure afterwards does not mend it."""
    assert folded({"in": 1, "out": figure}) == NO_USAGE
    assert folded({"out": figure}, {"out": 3}) == NO_USAGE


@pytest.mark.parametrize("usage", [None, [], "usage", 3, [{"in": 1}]])
def test_a_usage_that_is_no_object_is_not_there(usage: object) -> None:
    assert folded({"in": 1}, usage) == UsageStats(1, source=UsageSource.EXACT)


def test_a_spoiled_record_is_no_usage() -> None:
    fold = UsageFold(FIELDS)
    fold.overwrite({"in": 1})
    fold.spoil()
    assert fold.stats(UsageSource.PARTIAL) == NO_USAGE


@given(st.lists(st.dictionaries(st.sampled_from([*FIELDS, "x"]), st.none() | st.integers(0, 2**53))))
def test_the_fold_is_the_last_figure_of_each_field(usages: list[dict[str, int | None]]) -> None:
    last: dict[str, int] = {}
    for usage in usages:
        last |= {FIELDS[name]: figure for name, figure in usage.items() if figure is not None and name in FIELDS}
    assert folded(*usages) == (UsageStats(source=UsageSource.EXACT, **last) if last else NO_USAGE)


# --- inflating ----------------------------------------------------------------------------------------------------

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
    monkeypatch.setattr(metering, "_INFLATED_BYTES_MAX", 100_000)
    inflater = Inflater()
    assert len(inflater.feed(gzip.compress(b" " * 50_000_000))) <= 100_000
    assert not inflater.is_readable
    assert inflater.feed(b"more") == b""


def test_bytes_after_the_end_are_not_kept() -> None:
    """An upstream that goes on after its gzip member must not make the meter grow: it has no limit of its own there."""
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
    would have a whole answer told to the client as cut."""
    inflater = Inflater()
    assert inflater.feed(gzip.compress(TEXT) + gzip.compress(b"event: last\n\n")) == TEXT + b"event: last\n\n"


@given(st.binary(max_size=200))
def test_whatever_comes_the_inflater_does_not_raise(data: bytes) -> None:
    inflater = Inflater()
    inflater.feed(data)
    inflater.feed(data)


# --- nothing to meter ---------------------------------------------------------------------------------------------


def test_an_answer_without_tokens_is_complete_and_has_none() -> None:
    meter = NullMeter()
    meter.feed(b'{"usage": {"input_tokens": 3}}')
    assert meter.finish() == NO_USAGE
    assert (meter.is_complete, meter.is_mid_event, meter.error) == (True, False, None)
