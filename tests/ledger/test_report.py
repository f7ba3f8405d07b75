"""The sums that ``usage`` prints."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from relay_trio.ledger.columns import row_values
from relay_trio.ledger.report import GROUPINGS, UsageLine, total, usage_by
from relay_trio.ledger.store import SqliteStore
from relay_trio.outcome import COMPLETED, Phase, ended_by_client
from relay_trio.storage.sqlite import open_database, open_read_only
from relay_trio.usage import UsageSource, UsageStats
from tests.ledger.rows import ended, make_row

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86_400.0
START = 1_769_990_400.0  # 2026-02-02 00:00 UTC


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Four requests of two keys over two days: one complete, two hung up, one running."""
    path = tmp_path / "relay.db"
    exact = UsageStats(1000, 100, 20, 3, UsageSource.EXACT)
    partial = UsageStats(500, 50, 0, 0, UsageSource.PARTIAL)
    opus = {"provider": "anthropic", "model": "claude-opus-4-1", "account": "a"}
    sim = {"provider": "anthropic", "model": "claude-sim", "account": "b", "key_id": "cfg_team-y"}
    rows = [
        ended(make_row(**opus, started_at=START, usage=exact, cost_usd=0.0225), COMPLETED),
        ended(make_row(**opus, started_at=START + DAY - 1, usage=partial, cost_usd=0.01), ended_by_client(Phase.DATA)),
        ended(make_row(**sim, started_at=START + DAY, usage=partial), ended_by_client(Phase.DATA)),
        make_row(**sim, started_at=START + DAY + 1),
    ]
    with closing(open_database(path)) as writing:
        writing.execute(
            "INSERT INTO keys (name, digest, last4, models, created_at) VALUES ('team-x', x'00', '', '', 0)"
        )
        SqliteStore(writing).write([row_values(row) for row in rows])
        with closing(open_read_only(path)) as reading:
            yield reading


def test_by_key_lines_have_the_name(database: sqlite3.Connection) -> None:
    other, named = usage_by(database, "key", 0)
    assert other == UsageLine("cfg_team-y", 2, 1, 500, 0, 0, 50, 0.0, 550, 1)
    assert named == UsageLine("k_01 team-x", 2, 1, 1500, 20, 3, 150, named.usd, 550, 0)
    assert named.usd == pytest.approx(0.0325)


@pytest.mark.parametrize(
    ("grouping", "groups"),
    [
        ("account", {"a": 2, "b": 2}),
        ("model", {"claude-opus-4-1": 2, "claude-sim": 2}),
        ("day", {"2026-02-02": 2, "2026-02-03": 2}),
        ("outcome", {"completed --": 1, "client_disconnect CD": 2, "open": 1}),
    ],
)
def test_by_everything_else(database: sqlite3.Connection, grouping: str, groups: dict[str, int]) -> None:
    assert {line.group: line.requests for line in usage_by(database, grouping, 0)} == groups


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_the_total_is_the_same_however_it_is_cut(database: sqlite3.Connection, grouping: str) -> None:
    line = total(usage_by(database, grouping, 0))
    assert (line.requests, line.gone, line.of_which_partial, line.unpriced) == (4, 2, 1100, 1)
    assert line.usd == pytest.approx(total(usage_by(database, "day", 0)).usd)


def test_since_is_the_start_of_the_request(database: sqlite3.Connection) -> None:
    assert total(usage_by(database, "key", START + DAY)).requests == 2
    assert usage_by(database, "key", START + 9 * DAY) == []


def test_the_total_of_nothing_is_nothing() -> None:
    assert total([]) == UsageLine("total", 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_another_grouping_is_refused(database: sqlite3.Connection) -> None:
    with pytest.raises(KeyError):
        usage_by(database, "1; DROP TABLE requests", 0)
