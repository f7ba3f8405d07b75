"""Rows as SQL: batches of them written so that writing twice is writing once.

A row is written open, closed, or both; a closed row in the file is never changed again. What a row holds may come from
a client (the model's name), so a value that SQLite cannot take is made one that it can: one such row must not keep all
the others of its batch, and of every batch after it, from the file.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from relay_trio.ledger.columns import COLUMNS
from relay_trio.outcome import Phase, Who, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.ledger.columns import Column, Values

_LARGEST = 2**63 - 1

_NAMES = tuple(column.name for column in COLUMNS)
_WRITE = (
    f"INSERT INTO requests ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})"
    f" ON CONFLICT (request_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES[1:])}"
    " WHERE outcome IS NULL"
)

_ROW_FAULTS = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
               ValueError, TypeError, OverflowError)  # fmt: skip
"""What SQLite and its adapter raise for a value; everything else is the file's fault and passes with time."""


class SqliteStore:
    """Batches into the database file. Blocking; one thread at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def write(self, batch: Sequence[Values]) -> None:
        """Write all of it, in one transaction.

        Raises:
            sqlite3.Error: nothing was written, because the file cannot be.
        """
        try:
            self._transact(batch)
        except _ROW_FAULTS:
            self._transact([_writable(values) for values in batch])

    def close_lost_rows(self) -> int:
        """Close what a killed process left open; tell how many there were. How far they had come is not known, so
        they count as cut in the data; their durations stay empty."""
        code = f"{Who.WORKER.value}{Phase.DATA.value}"
        cursor = self._database.execute(
            "UPDATE requests SET outcome = ?, code = ? WHERE outcome IS NULL", (Word.WORKER_LOST.value, code)
        )
        return cursor.rowcount

    def _transact(self, rows: Sequence[Values]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(_WRITE, rows)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # some failures roll back by themselves
                self._database.execute("ROLLBACK")
            raise


def _writable(values: Values) -> Values:
    return tuple(_made_writable(column, value) for column, value in zip(COLUMNS, values, strict=True))


def _made_writable(column: Column, value: Any) -> Any:
    """``value`` as its column takes it: text without lone surrogates, numbers within bounds."""
    if value is None and column.is_nullable:
        return None
    if column.kind is str:
        return ("" if value is None else str(value)).encode("utf-8", "backslashreplace").decode()
    if not isinstance(value, (int, float)) or value != value:  # not a number
        return None if column.is_nullable else column.kind(0)
    return column.kind(max(-_LARGEST, min(value, _LARGEST)))
