"""``relay-trio usage``: the ledger's sums as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.cli.usage import usage
from relay_trio.keys.key_store import open_key_store
from relay_trio.ledger.row import LedgerRow
from relay_trio.ledger.writer import open_ledger
from relay_trio.outcome import Outcome, Phase, Who, Word
from relay_trio.usage import UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


COMPLETED = Outcome(Word.COMPLETED, Who.DONE, Phase.DONE)
GONE = Outcome(Word.CLIENT_DISCONNECT, Who.CLIENT, Phase.DATA)


@pytest.fixture
def config(config_file: Path) -> Path:
    """Three requests: two of k_01 now (one cut), one of a key in the file three days ago."""
    config_file.write_text("")
    ledger = config_file.parent / "relay.db"
    with open_key_store(ledger) as store:
        store.create("team-x")
    exact = stats(1000, 50, UsageSource.EXACT)
    rows = (
        row_of("r1", "k_01", 0, COMPLETED, exact, cost_usd=0.00375),
        row_of("r2", "k_01", 0, GONE, stats(1000, 7, UsageSource.PARTIAL), cost_usd=0.003105),
        row_of("r3", "cfg_b", 3 * 86_400, COMPLETED, exact, model="\x1b[2Junknown"),
    )
    rows[1].cost_note = "service_tier,web_search"
    trio.run(write, ledger, rows)
    return config_file


async def write(path: Path, rows: Sequence[LedgerRow]) -> None:
    async with open_ledger(path) as ledger:
        for row in rows:
            ended, row.outcome = row.outcome, None
            ledger.open_row(row)
            row.outcome = ended
            ledger.close_row(row)


def row_of(
    request_id: str,
    key_id: str,
    age_seconds: float,
    outcome: Outcome,
    used: UsageStats,
    *,
    model: str = "claude-sonnet-4-5",
    cost_usd: float | None = None,
) -> LedgerRow:
    row = LedgerRow(request_id, key_id, time.time() - age_seconds, "/v1/messages", model=model, cost_usd=cost_usd)
    row.outcome, row.usage, row.account, row.provider = outcome, used, "a", "anthropic"
    return row


def stats(input_tokens: int, output_tokens: int, source: UsageSource) -> UsageStats:
    return UsageStats(input_tokens=input_tokens, output_tokens=output_tokens, source=source)


def test_the_table_shows_who_used_what_and_what_was_cut(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(config=config) == 0
    first, *lines, note = capsys.readouterr().out.splitlines()
    assert first.startswith("since ")
    assert note.startswith("1 requests had something without a known price")
    assert [line.split("   ")[0].strip() for line in lines] == ["key", "k_01 team-x", "total"]
    assert lines[0].split()[-3:] == ["of", "which", "partial"]
    assert lines[1].split() == ["k_01", "team-x", "2", "1", "2,000", "0", "0", "57", "0.0069", "1,007"]
    assert len({len(line) for line in lines}) == 1


def test_json_has_the_sums_of_each_group_and_of_all(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(by="outcome", since="7d", as_json=True, config=config) == 0
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == {"by", "since", "lines", "total", "unpriced_models", "cost_notes"}
    assert [(line["group"], line["requests"]) for line in report["lines"]] == [
        ("client_disconnect CD", 1),
        ("completed --", 2),
    ]
    assert report["total"]["requests"] == 3
    assert report["total"]["of_which_partial"] == 1007
    assert report["total"]["unpriced"] == 1
    assert report["unpriced_models"] == {"\x1b[2Junknown": 1}
    assert report["total"]["partly_priced"] == 1
    assert report["cost_notes"] == {"service_tier": 1, "web_search": 1}


def test_json_keeps_the_id_of_a_key_apart_from_its_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script looks a key up by its id; a name may be given again."""
    config.write_text('[[key]]\nname = "b"\nsecret = "env:B"\n')
    assert usage(since="7d", as_json=True, config=config) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(line["group"], line["name"]) for line in report["lines"]] == [("cfg_b", "b"), ("k_01", "team-x")]
    assert report["lines"][0].keys() - report["total"].keys() == {"group", "name"}


def test_csv_has_a_header_and_one_line_for_each_group(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(by="account", since="7d", as_csv=True, config=config) == 0
    [line] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert line["group"] == "a"
    assert (line["requests"], line["gone"], line["input_tokens"]) == ("3", "1", "3000")
    assert float(line["usd"]) == pytest.approx(0.006855)


def test_a_model_name_from_a_client_cannot_steer_the_terminal(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(by="model", since="7d", config=config) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "?[2Junknown" in out
    assert "1 requests used tokens of models without a known price; USD does not hold them: ?[2Junknown (1)\n" in out
    notes = "service_tier (1), web_search (1)"
    assert f"1 requests had something without a known price; USD does not hold that: {notes}\n" in out


def test_a_database_that_is_damaged_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = config.parent / "relay.db"
    content = ledger.read_bytes()
    ledger.write_bytes(content[:4096] + bytes(len(content) - 4096))  # the first page says what tables there are
    assert usage(config=config) == 1
    assert "relay.db: is damaged; restore it from a backup" in capsys.readouterr().err


def test_a_span_longer_than_the_calendar_is_all_there_is(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(since="999999d", config=config) == 0
    assert capsys.readouterr().out.startswith("since 1970-01-01")


def test_nothing_used_is_said_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_key_store(config.parent / "other.db"):
        pass
    config.write_text('[server]\nledger = "other.db"\n')
    assert usage(config=config) == 0
    assert capsys.readouterr().out.startswith("No requests since ")
    assert usage(as_json=True, config=config) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == []


@pytest.mark.parametrize("since", ["", "24", "1 week", "-1h"])
def test_a_bad_duration_is_a_usage_error(config_file: Path, capsys: pytest.CaptureFixture[str], since: str) -> None:
    assert usage(since=since, config=config_file) == 2
    assert "--since must be a number and s, m, h or d" in capsys.readouterr().err


def test_json_and_csv_exclude_each_other(config_file: Path) -> None:
    assert usage(as_json=True, as_csv=True, config=config_file) == 2


def test_without_a_ledger_the_commands_that_make_one_are_named(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_file.write_text("")
    assert usage(config=config_file) == 1
    assert "there is no ledger yet" in capsys.readouterr().err
    config_file.unlink()
    assert usage(config=config_file) == 1
    assert "relay-trio init" in capsys.readouterr().err
