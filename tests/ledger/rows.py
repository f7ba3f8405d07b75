"""Rows to write, and what is in the file."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.ledger.row import LedgerRow
from relay_trio.outcome import COMPLETED
from relay_trio.storage.sqlite import open_read_only

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.ledger.writer import Ledger
    from relay_trio.outcome import Outcome

_numbers = count(1)


def make_row(request_id: str = "", **fields: Any) -> LedgerRow:
    """A row of a request that has just begun."""
    row = LedgerRow(request_id or f"req_{next(_numbers):026d}", "k_01", 1_770_000_000.0, "/v1/messages", is_stream=True)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def ended(row: LedgerRow, outcome: Outcome = COMPLETED) -> LedgerRow:
    """``row`` with an outcome."""
    row.outcome = outcome
    return row


def codes(path: Path) -> dict[str, str | None]:
    """Each row in the file, by id: its code, None while it is open."""
    with closing(open_read_only(path)) as database:
        return dict(database.query("SELECT request_id, code FROM requests ORDER BY request_id"))


def sole_row(path: Path) -> dict[str, Any]:
    """The only row in the file, by column."""
    with closing(open_read_only(path)) as database:
        names = [name for (name,) in database.query("SELECT name FROM pragma_table_info('requests')")]
        (row,) = database.query("SELECT * FROM requests")
        return dict(zip(names, row, strict=True))


async def written(ledger: Ledger) -> None:
    """Return once every row is on disk as it is. Cancelled here: atomic."""
    while ledger.statistics().pending:  # noqa: ASYNC110 -- the product announces none of what is waited for here
        await trio.sleep(0.005)
