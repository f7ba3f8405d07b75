"""A file of relay-trio 0.1.0: the relay migrates it in place, and commands work with it as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.cli.check import check
from relay_trio.cli.keys import create, list_keys, revoke
from relay_trio.cli.usage import usage
from relay_trio.keys.ring import open_key_ring
from relay_trio.ledger.sqlite_store import open_report
from relay_trio.ledger.writer import open_ledger
from relay_trio.storage.schema import SCHEMA_VERSION
from relay_trio.storage.sqlite import inspect, open_read_only
from relay_trio.storage.storage_error import StorageError
from relay_trio.usage import UsageSource, UsageStats
from tests.ledger.rows import codes, ended, make_row
from tests.storage.old_file import SECRET, make_old_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_old_file(tmp_path / "relay.db")


async def test_the_relay_migrates_the_file_and_closes_what_the_old_one_left_open(old: Path) -> None:
    """No row of the old version names a worker; none of its processes is alive, because the lock is ours."""
    async with open_ledger(old) as ledger:
        assert str(inspect(old)) == f"schema {SCHEMA_VERSION}"
        ledger.open_row(row := make_row("new", started_at=7.0))
        ledger.close_row(ended(row))
        ring = await open_key_ring(old)
        assert ring.authenticate_nowait(SECRET) is not None
    assert codes(old) == {"closed": "--", "new": "--", "open": "WD"}
    with open_report(old) as report:
        closed, lost, new = report.rows()
    assert (closed.worker, lost.worker, new.worker) == ("", "", ledger.worker)
    assert (closed.usage, closed.cost_usd) == (UsageStats(10, 20, source=UsageSource.EXACT), 0.25)
    assert (closed.attempt_log, lost.attempt_log, lost.duration_ms) == ((), (), None)


def test_commands_read_and_write_keys_without_migrating(
    old: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay of the old version may be running: it reads its keys anew every two seconds, and refuses a newer file."""
    config = old.with_name("relay.toml")
    config.write_text(f'[server]\nledger = "{old}"\n')
    assert list_keys(config=config) == 0
    assert "k_01   team-x   sion" in capsys.readouterr().out
    assert create("team-y", config=config) == 0
    assert revoke("k_01", config=config) == 0
    assert usage(since="99999d", config=config) == 0
    assert "k_01 team-x" in capsys.readouterr().out
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-a")
    config.write_text(f"""
        [server]
        ledger = "{old}"
        [[account]]
        name = "a"
        provider = "anthropic"
        max_concurrency = 1
        base_url = "http://127.0.0.1:9"
        api_key = "env:ANTHROPIC_API_KEY"
    """)
    check(config=config)
    out = capsys.readouterr().out
    assert "(schema 1)" in out
    assert "1 in the ledger" in out
    assert inspect(old).schema == 1


def test_what_needs_the_newest_schema_says_how_to_get_it(old: Path) -> None:
    with pytest.raises(StorageError, match=r"has schema 1, .* start `relay-trio serve` once"):
        open_read_only(old)
