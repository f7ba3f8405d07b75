"""Rows as SQL: the columns of ``requests`` in order, and batches of them written so that writing twice is writing once.

A row is written open, closed, or both; a closed row in the file is never changed again. What a row holds may come from
a client (the model's name), so a value that SQLite cannot take is made one that it can: one such row must not keep all
the others of its batch, and of every batch after it, from the file.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from relay_trio.ledger.prices import cost_usd
from relay_trio.outcome import Phase, Who, Word
from relay_trio.usage import UsageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.ledger.row import LedgerRow

Values = tuple[Any, ...]
"""One row, in the order of ``COLUMNS``; the usage stands in the place of the cost that is computed from it."""

COLUMNS = (
    "request_id", "key_id", "started_at", "route", "model", "is_stream", "provider", "account", "outcome", "code",
    "status", "attempts", "queue_ms", "connect_ms", "ttft_ms", "duration_ms", "release_ms", "upstream_close_ms",
    "sent_bytes", "chunks", "input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens",
    "total_tokens", "usage_source", "cost_usd", "client_request_id", "upstream_request_id", "cancelled_by",
)  # fmt: skip

_NUMBERS = {name: float for name in COLUMNS if name.endswith(("_ms", "_at", "_usd"))} | {
    name: int
    for name in COLUMNS
    if name.endswith("_tokens") or name in ("is_stream", "attempts", "sent_bytes", "chunks", "status")
}
_MAY_BE_NULL = {"outcome", "code", "status", "cost_usd"} | {name for name in COLUMNS if name.endswith("_ms")}
_LARGEST = 2**63 - 1
_MODEL, _PROVIDER, _STARTED, _COST = (COLUMNS.index(name) for name in ("model", "provider", "started_at", "cost_usd"))

_WRITE = (
    f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    f" ON CONFLICT (request_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])}"
    " WHERE outcome IS NULL"
)

_ROW_FAULTS = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
               ValueError, TypeError, OverflowError)  # fmt: skip
"""What SQLite and its adapter raise for a value; everything else is the file's fault and passes with time."""


def row_values(row: LedgerRow) -> Values:
    """``row`` as it is now."""
    usage, outcome = row.usage, row.outcome
    return (
        row.request_id, row.key_id, row.started_at, row.route, row.model, int(row.is_stream), row.provider, row.account,
        None if outcome is None else outcome.word.value, None if outcome is None else outcome.code,
        row.status, row.attempts, row.queue_ms, row.connect_ms, row.ttft_ms, row.duration_ms, row.release_ms,
        row.upstream_close_ms, row.sent_bytes, row.chunks, usage.input_tokens, usage.output_tokens,
        usage.cache_creation_tokens, usage.cache_read_tokens, usage.total_tokens, usage.source.value,
        usage if usage.source is not UsageSource.NONE else None,
        row.client_request_id, row.upstream_request_id, row.cancelled_by,
    )  # fmt: skip


class SqliteStore:
    """Batches into the database file. Blocking; one thread at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def write(self, batch: Sequence[Values]) -> None:
        """Write all of it, in one transaction. Prices are looked up here, in the thread, not on the event loop.

        Raises:
            sqlite3.Error: nothing was written, because the file cannot be.
        """
        rows = [_priced(values) for values in batch]
        try:
            self._transact(rows)
        except _ROW_FAULTS:
            self._transact([_writable(row) for row in rows])

    def close_lost_rows(self) -> int:
        """Close what a killed process left open; tell how many there were. How far they had come is not known, so
        they count as cut in the data; their durations stay empty."""
        code = f"{Who.WORKER.value}{Phase.DATA.value}"
        cursor = self._database.execute(
            "UPDATE requests SET outcome = ?, code = ? WHERE outcome IS NULL", (Word.WORKER_LOST.value, code)
        )
        return cursor.rowcount

    def _transact(self, rows: list[Values]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(_WRITE, rows)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # some failures roll back by themselves
                self._database.execute("ROLLBACK")
            raise


def _priced(values: Values) -> Values:
    return (*values[:_COST], _cost(values), *values[_COST + 1 :])


def _cost(values: Values) -> float | None:
    usage = values[_COST]
    if usage is None:
        return None
    try:
        return cost_usd(values[_PROVIDER], values[_MODEL], usage, at=values[_STARTED])
    except Exception:  # of the price list, or of an absurd figure: the row is worth more; `usage` counts it as unpriced
        return None


def _writable(row: Values) -> Values:
    return tuple(_made_writable(name, value) for name, value in zip(COLUMNS, row, strict=True))


def _made_writable(name: str, value: Any) -> Any:
    """``value`` as its column takes it: text without lone surrogates, numbers within bounds."""
    if value is None and name in _MAY_BE_NULL:
        return None
    kind = _NUMBERS.get(name)
    if kind is None:
        return ("" if value is None else str(value)).encode("utf-8", "backslashreplace").decode()
    if not isinstance(value, (int, float)) or value != value:  # not a number
        return None if name in _MAY_BE_NULL else kind(0)
    if kind is int:
        return int(max(-_LARGEST, min(value, _LARGEST)))
    return float(max(-_LARGEST, min(value, _LARGEST)))
