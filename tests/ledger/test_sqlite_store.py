"""Batches as SQL: writing twice is writing once, a closed row stays as it is, and no value keeps others out."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, get_args

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay_trio.ledger.columns import COLUMNS, row_values
from relay_trio.ledger.report import Grouping, Missing, UsageLine, total
from relay_trio.ledger.row import AttemptRecord
from relay_trio.ledger.sqlite_store import SqliteStore, open_report, open_store
from relay_trio.outcome import COMPLETED, Phase, Word, ended_by_client
from relay_trio.storage.sqlite import open_database
from relay_trio.storage.storage_error import StorageError
from relay_trio.usage import UsageDetails, UsageSource, UsageStats
from tests.ledger.rows import codes, ended, make_row, sole_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relay_trio.ledger.ledger_store import LedgerReport


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(open_database(path)) as database:
        yield SqliteStore(database)


def test_a_row_comes_back_as_it_was(store: SqliteStore, path: Path) -> None:
    row = make_row("r", model="claude-opus-4-1", provider="anthropic", account="a", status=200, attempts=2, chunks=3)
    row.queue_ms, row.ttft_ms, row.duration_ms, row.sent_bytes = 1.5, 2.5, 3.5, 4
    row.worker, row.attempt_log = "w", (AttemptRecord("b", Phase.HEAD, Word.UPSTREAM_ERROR, 500, 7.5),)
    row.dropped = "output_config,beta"
    row.client_request_id, row.upstream_request_id, row.cancelled_by = "c", "u", "client"
    details = UsageDetails(cache_creation_1h_tokens=20, web_searches=2, speed="fast")
    row.usage, row.cost_usd = UsageStats(1000, 200, 30, 4, UsageSource.PARTIAL, details), 0.03
    row.cost_note, row.prices_of = "web_search", "2026-11-04"
    store.write([row_values(ended(row, ended_by_client(Phase.DATA)))])
    assert sole_row(path) == {
        "request_id": "r", "key_id": "k_01", "started_at": 1_770_000_000.0, "route": "/v1/messages",
        "model": "claude-opus-4-1", "is_stream": 1, "provider": "anthropic", "account": "a",
        "outcome": "client_disconnect", "code": "CD", "status": 200, "attempts": 2, "queue_ms": 1.5,
        "connect_ms": None, "ttft_ms": 2.5, "duration_ms": 3.5, "release_ms": None, "upstream_close_ms": None,
        "sent_bytes": 4, "chunks": 3, "input_tokens": 1000, "output_tokens": 200, "cache_creation_tokens": 30,
        "cache_read_tokens": 4, "total_tokens": 1234, "usage_source": "partial",
        "cost_usd": 0.03, "cost_note": "web_search", "prices_of": "2026-11-04", "cache_creation_1h_tokens": 20,
        "input_audio_tokens": 0, "input_image_tokens": 0, "input_video_tokens": 0, "cache_read_audio_tokens": 0,
        "output_audio_tokens": 0, "output_image_tokens": 0, "output_video_tokens": 0, "web_searches": 2,
        "grounded_answers": 0, "server_side_requests": 0, "service_tier": "", "speed": "fast", "inference_geo": "",
        "batch_id": "",
        "client_request_id": "c", "upstream_request_id": "u", "cancelled_by": "client", "worker": "w",
        "attempt_log": '[{"account":"b","phase":"H","reason":"upstream_error","status":500,"duration_ms":7.5}]',
        "dropped": "output_config,beta",
    }  # fmt: skip


def test_open_and_closed_may_be_written_in_any_order_and_again(store: SqliteStore, path: Path) -> None:
    row = make_row("r")
    opened = row_values(row)
    closed = row_values(ended(row))
    for values in (opened, opened, closed, opened, closed):
        store.write([values])
    assert codes(path) == {"r": "--"}
    store.write([opened, closed, row_values(ended(make_row("r"), ended_by_client(Phase.DATA)))])
    assert codes(path) == {"r": "--"}


def test_a_batch_is_written_whole_or_not_at_all(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON requests WHEN NEW.request_id = 'b'"
            " BEGIN SELECT raise(ROLLBACK, ''); END"
        )
        batch = [row_values(make_row(name)) for name in "ab"]
        with pytest.raises(StorageError):
            store.write(batch)
        assert codes(path) == {}
        other.execute("DROP TRIGGER full")
    store.write(batch)
    assert codes(path) == {"a": None, "b": None}


def test_a_full_disk_leaves_the_file_sound_and_the_batch_for_later(path: Path) -> None:
    with closing(open_database(path)) as database:
        store = SqliteStore(database)
        ((pages,),) = database.query("PRAGMA page_count")
        database.query(f"PRAGMA max_page_count = {pages}")
        batch = [row_values(ended(make_row())) for _ in range(200)]
        with pytest.raises(StorageError, match="the disk is full; free some space"):
            store.write(batch)
        assert codes(path) == {}
        database.query("PRAGMA max_page_count = 100000")
        store.write(batch)
        assert len(codes(path)) == 200
        assert database.query("PRAGMA integrity_check") == [("ok",)]


HOSTILE = [
    {"model": "\ud800"},
    {"model": "a\x00b"},
    {"model": None},
    {"model": b"bytes"},
    {"status": 2**70},
    {"sent_bytes": -(2**70)},
    {"attempts": "three"},
    {"started_at": math.nan},
    {"duration_ms": math.inf},
    {"queue_ms": "soon"},
    {"usage": UsageStats(10**30, source=UsageSource.EXACT)},
    {"usage": UsageStats(10**400, source=UsageSource.EXACT)},
    {"cost_usd": math.inf},
    {"cost_usd": "much"},
    {"provider": ["anthropic"], "model": {}},
]


@pytest.mark.parametrize("fields", HOSTILE, ids="-".join)
def test_a_value_that_sqlite_cannot_take_does_not_keep_its_batch_out(
    store: SqliteStore, path: Path, fields: dict[str, object]
) -> None:
    """A client names the model: with JSON's ``"\\ud800"`` it could otherwise stop the ledger for everybody."""
    store.write([row_values(ended(make_row("good"))), row_values(ended(make_row("hostile", **fields)))])
    assert codes(path) == {"good": "--", "hostile": "--"}


@settings(
    max_examples=3 * settings().max_examples // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    values=st.lists(
        st.one_of(st.none(), st.text(), st.characters(categories=["Cs"]), st.integers(), st.floats(), st.binary()),
        min_size=len(COLUMNS) - 1,
        max_size=len(COLUMNS) - 1,
    )
)
def test_any_values_at_all_are_written(store: SqliteStore, path: Path, values: list[object]) -> None:
    store.write([("drawn", *values)])
    assert "drawn" in codes(path)
    store._database.execute("DELETE FROM requests")


def test_rows_of_a_killed_process_are_closed_without_a_duration(store: SqliteStore, path: Path) -> None:
    store.write([row_values(make_row("r"))])
    assert store.close_lost({"me"}) == 1
    assert store.close_lost({"me"}) == 0
    row = sole_row(path)
    assert (row["outcome"], row["code"], row["duration_ms"]) == ("worker_lost", "WD", None)


def test_rows_of_workers_that_are_alive_stay_open(store: SqliteStore, path: Path) -> None:
    rows = [make_row(worker, worker=worker) for worker in ("alive", "dead", "me")]
    store.write([row_values(row) for row in (*rows, make_row("of an older relay"), ended(make_row("z")))])
    assert store.close_lost({"me", "alive"}) == 2
    assert codes(path) == {"alive": None, "dead": "WD", "me": None, "of an older relay": "WD", "z": "--"}
    assert store.close_lost(()) == 2


def test_sql_in_a_value_is_text(store: SqliteStore, path: Path) -> None:
    store.write([row_values(ended(make_row("r", model="'); DROP TABLE requests; --")))])
    assert sole_row(path)["model"] == "'); DROP TABLE requests; --"


# --- read back ----------------------------------------------------------------------------------------------------

DAY = 86_400.0
START = 1_769_990_400.0  # 2026-02-02 00:00 UTC


@pytest.fixture
def report(tmp_path: Path) -> Iterator[LedgerReport]:
    """Four requests of two keys over two days: one complete, two hung up, one running."""
    path = tmp_path / "relay.db"
    exact = UsageStats(1000, 100, 20, 3, UsageSource.EXACT)
    partial = UsageStats(500, 50, 0, 0, UsageSource.PARTIAL)
    opus = {"provider": "anthropic", "model": "claude-opus-4-1", "account": "a"}
    sim = {"provider": "anthropic", "model": "claude-sim", "account": "b", "key_id": "cfg_team-y"}
    rows = [
        ended(make_row(**opus, started_at=START, usage=exact, cost_usd=0.0225), COMPLETED),
        ended(
            make_row(**opus, started_at=START + DAY - 1, usage=partial, cost_usd=0.01, cost_note="speed,web_search"),
            ended_by_client(Phase.DATA),
        ),
        ended(make_row(**sim, started_at=START + DAY, usage=partial), ended_by_client(Phase.DATA)),
        make_row(**sim, started_at=START + DAY + 1),
    ]
    with closing(open_store(path)) as store:
        store.write([row_values(row) for row in rows])
        with open_report(path) as report:
            yield report


def test_by_key(report: LedgerReport) -> None:
    other, of_key = report.usage_by("key", 0)
    assert other == UsageLine("cfg_team-y", 2, 1, 500, 0, 0, 50, 0.0, 550, 1, 0)
    assert of_key == UsageLine("k_01", 2, 1, 1500, 20, 3, 150, of_key.usd, 550, 0, 1)
    assert of_key.usd == pytest.approx(0.0325)


@pytest.mark.parametrize(
    ("grouping", "groups"),
    [
        ("account", {"a": 2, "b": 2}),
        ("model", {"claude-opus-4-1": 2, "claude-sim": 2}),
        ("day", {"2026-02-02": 2, "2026-02-03": 2}),
        ("outcome", {"completed --": 1, "client_disconnect CD": 2, "open": 1}),
    ],
)
def test_by_everything_else(report: LedgerReport, grouping: Grouping, groups: dict[str, int]) -> None:
    assert {line.group: line.requests for line in report.usage_by(grouping, 0)} == groups


@pytest.mark.parametrize("grouping", get_args(Grouping))
def test_the_total_is_the_same_however_it_is_cut(report: LedgerReport, grouping: Grouping) -> None:
    line = total(report.usage_by(grouping, 0))
    assert (line.requests, line.gone, line.of_which_partial, line.unpriced, line.partly_priced) == (4, 2, 1100, 1, 1)
    assert line.usd == pytest.approx(total(report.usage_by("day", 0)).usd)


def test_since_is_the_start_of_the_request(report: LedgerReport) -> None:
    assert total(report.usage_by("key", START + DAY)).requests == 2
    assert report.usage_by("key", START + 9 * DAY) == []


def test_what_the_sums_do_not_hold_is_told_by_model_and_note(report: LedgerReport) -> None:
    assert report.missing(0) == Missing({"claude-sim": 1}, {"speed": 1, "web_search": 1})
    assert report.missing(START + 9 * DAY) == Missing({}, {})


def test_another_grouping_is_refused(report: LedgerReport) -> None:
    with pytest.raises(KeyError):
        report.usage_by("1; DROP TABLE requests", 0)  # type: ignore[arg-type]


def test_last_use_is_the_newest_request_of_a_key(report: LedgerReport) -> None:
    assert report.last_used(["k_01", "k_02", "cfg_team-y"]) == {"k_01": START + DAY - 1, "cfg_team-y": START + DAY + 1}


def test_rows_come_back_as_they_were(store: SqliteStore, path: Path) -> None:
    rows = [make_row(f"r{number}", model="m", started_at=float(number)) for number in range(3)]
    rows[0].usage, rows[0].status, rows[0].cost_usd = (
        UsageStats(1, 2, 3, 4, UsageSource.PARTIAL, UsageDetails(3)),
        200,
        0.5,
    )
    rows[0].attempt_log = (AttemptRecord("b", Phase.HEAD, Word.UPSTREAM_ERROR, None, 7.5),)
    ended(rows[0], ended_by_client(Phase.DATA))
    store.write([row_values(row) for row in reversed(rows)])
    with open_report(path) as report:
        assert report.rows() == rows


async def test_a_report_is_read_in_a_thread_beside_the_writer(path: Path) -> None:
    """As a web page does it."""

    def read() -> float:
        with open_report(path) as report:
            return total(report.usage_by("account", 0)).requests

    with closing(open_store(path)) as store:
        store.write([row_values(make_row())])
        assert await trio.to_thread.run_sync(read) == 1


def test_without_a_file_there_is_no_report(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no ledger yet"), open_report(path):
        pass
