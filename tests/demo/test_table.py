"""The demo's account table: what ended is counted where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from relay_trio.app import open_relay
from relay_trio.config import Settings
from relay_trio.demo.table import AccountTable, show
from relay_trio.ledger.row import LedgerRow
from relay_trio.outcome import COMPLETED, Outcome, Phase, Who, Word, ended_by_client

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


_FIGURES = ("2", "1", "1", "300/300", "ms", "300.0", "ms")
"""ok, gone, err, ttft, release."""


def settings(folder: Path) -> Settings:
    account = {"name": "claude-a", "provider": "anthropic", "api_key": "sk-1", "max_concurrency": 4}
    return Settings.model_validate({"server": {"ledger": str(folder / "relay.db")}, "account": [account]})


def row(outcome: Outcome, *, account: str = "claude-a", ms: float | None = None) -> LedgerRow:
    return LedgerRow("req_1", "k_1", 0.0, "messages", account=account, outcome=outcome, ttft_ms=ms, release_ms=ms)


async def test_each_end_is_counted_in_its_column(tmp_path: Path) -> None:
    table = AccountTable()
    table.settled(row(COMPLETED, ms=100.0))
    table.settled(row(COMPLETED, ms=300.0))
    table.settled(row(ended_by_client(Phase.DATA)))
    table.settled(row(Outcome(Word.UPSTREAM_ERROR, Who.UPSTREAM, Phase.DATA)))
    table.settled(row(ended_by_client(Phase.QUEUED), account=""))
    async with open_relay(settings(tmp_path)) as relay:
        _, account, queue = table.lines(relay.core)
    assert account.split() == ["claude-a", "0/4", *_FIGURES, "ready"]
    assert queue.split() == ["in", "queue", "0", "0", "1", "0"]


async def test_an_account_that_cools_down_says_why_and_how_long(tmp_path: Path) -> None:
    async with open_relay(settings(tmp_path)) as relay:
        relay.core.pool.accounts[0].health.cool_down(trio.current_time(), 18.2, "the upstream answered 429")
        _, account, _, note = AccountTable().lines(relay.core)
    assert account.endswith(" cooling")
    assert note == "  claude-a: the upstream answered 429, 18 s left"


async def test_cancelling_the_display_shows_the_table_once_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_relay(settings(tmp_path)) as relay, trio.open_nursery() as nursery:
        nursery.start_soon(show, AccountTable(), relay.core)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out.count("claude-a") == 1
