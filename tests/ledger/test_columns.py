"""The columns of a row: each field has its own, in the table too, and values are those of the moment."""

from __future__ import annotations

from contextlib import closing
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from relay_trio.ledger.columns import COLUMNS, row_of, row_values
from relay_trio.ledger.row import AttemptRecord, LedgerRow
from relay_trio.outcome import COMPLETED, Phase, Word, ended_by_client
from relay_trio.storage.sqlite import open_database
from relay_trio.usage import UsageDetails, UsageSource, UsageStats
from tests.ledger.rows import make_row

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.outcome import Outcome

_KINDS = {"TEXT": str, "INTEGER": int, "REAL": float}


def by_column(row: LedgerRow) -> dict[str, object]:
    return dict(zip((column.name for column in COLUMNS), row_values(row), strict=True))


def test_the_table_has_these_columns_and_takes_these_values(tmp_path: Path) -> None:
    """A field that is added to the row needs a step of the schema."""
    with closing(open_database(tmp_path / "relay.db")) as database:
        made = database.query("SELECT * FROM pragma_table_info('requests') ORDER BY name")
    ours = sorted((column.name, column.kind, not column.is_nullable) for column in COLUMNS)
    assert ours == [
        (name, _KINDS[kind], bool(is_filled or name == "request_id")) for _, name, kind, is_filled, *_ in made
    ]


def test_every_field_of_a_row_has_its_columns() -> None:
    plain = {field.name for field in fields(LedgerRow)} - {"outcome", "usage", "key_name"}
    of_usage = {field.name for field in fields(UsageStats)} - {"source", "details", "parts"} | {
        "total_tokens",
        "usage_source",
    }
    of_usage |= {field.name for field in fields(UsageDetails)}
    assert {column.name for column in COLUMNS} == plain | {"outcome", "code"} | of_usage


def test_values_stand_in_their_columns() -> None:
    row = make_row("r", model="m", usage=UsageStats(1, 2, 3, 4, UsageSource.PARTIAL), cost_usd=0.5)
    values = by_column(row)
    assert values["request_id"] == "r"
    assert (values["input_tokens"], values["total_tokens"], values["usage_source"]) == (1, 10, "partial")
    assert (values["cost_usd"], values["outcome"], values["code"]) == (0.5, None, None)
    row.outcome = ended_by_client(Phase.DATA)
    assert (by_column(row)["outcome"], by_column(row)["code"]) == ("client_disconnect", "CD")


def test_values_are_those_of_the_moment() -> None:
    """The request goes on changing its row; what is in the journal must not change with it."""
    row = make_row("r")
    values = row_values(row)
    row.attempts = 5
    assert values != row_values(row)
    assert 5 not in values


@pytest.mark.parametrize("usage", [UsageStats(), UsageStats(1, 2, 3, 4, UsageSource.EXACT)])
@pytest.mark.parametrize("outcome", [None, COMPLETED, ended_by_client(Phase.QUEUED)])
def test_a_row_comes_back_from_its_values(usage: UsageStats, outcome: Outcome | None) -> None:
    attempts = (
        AttemptRecord('a \u00e4 "', Phase.CONNECTING, Word.UPSTREAM_TIMEOUT, None, 0.5),
        AttemptRecord("b", Phase.HEAD, Word.UPSTREAM_RATE_LIMITED, 429, 1e3),
    )
    row = make_row("r", usage=usage, outcome=outcome, attempt_log=attempts, worker="w", cost_usd=0.25, ttft_ms=1.5)
    assert row_of(row_values(row)) == row
