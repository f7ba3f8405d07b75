"""The demo's first and last lines: they fit 80 columns, and say whether all is well."""

from __future__ import annotations

from dataclasses import replace

from relay_trio.app import Bound
from relay_trio.demo.audit import Audit
from relay_trio.demo.report import end_lines, start_lines

ALL_WELL = Audit(156, 156, 0, 77, 73, 0, 6, {"anthropic": 1941, "bedrock": 1127, "gemini": 1664}, ())


def lines(found: Audit, *problems: str) -> list[str]:
    faults = "429:0.02,stall:0.01,reset:0.01"
    return end_lines(found, problems, traffic_seconds=20.0, last_seconds=1.94, faults=faults, others=2)


def test_no_line_is_longer_than_80_characters() -> None:
    bound = Bound(("http://127.0.0.1:65535",), "http://127.0.0.1:65535")
    large = replace(ALL_WELL, requests=123_456, rows=123_456, completed=61_000, gone=61_000, refused=999, unread=999)
    shown = "\n".join([*start_lines(bound, 999_999), *lines(large)])
    assert max(map(len, shown.splitlines())) <= 80


def test_a_good_end_says_that_its_failures_were_injected() -> None:
    assert lines(ALL_WELL)[-1] == "PASS  every slot, row and token adds up; the 6 failures were injected"
    assert lines(replace(ALL_WELL, failed=1))[-1].endswith("; the failure was injected")
    assert lines(replace(ALL_WELL, failed=0))[-1] == "PASS  every slot, row and token adds up"


def test_a_bad_end_lists_what_is_wrong_and_says_so_last() -> None:
    shown = lines(ALL_WELL, "slots held after the last request: 1", "rows left open")
    assert shown[-3:] == [
        "  problem   slots held after the last request: 1",
        "  problem   rows left open",
        "FAIL  2 problems, listed above",
    ]


def test_the_time_is_that_of_the_traffic_and_of_the_last_requests() -> None:
    assert lines(ALL_WELL)[0] == "  time      20.0 s of traffic, and 1.9 s to the end of the last requests"


def test_requests_that_found_no_slot_are_counted_apart_from_failed_ones() -> None:
    shown = lines(replace(ALL_WELL, refused=3))[1]
    assert shown == "  requests  156: 77 completed, 73 hung up, 6 failed, 3 found no slot"
