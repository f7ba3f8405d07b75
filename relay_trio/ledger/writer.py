"""The one writer of ledger rows: never blocks a request, never loses a row it took.

::

    open_row / close_row (synchronous) ──► journal in memory ──► one task, one transaction per batch ──► SQLite

The journal holds each row once, as it is now, so a request that begins and ends within one batch is one INSERT. A
failed write keeps its batch and is tried again: rows are found by request id, so writing twice is writing once. When
the journal is full, new rows are refused (a request without a row is not served); closing a row never is.

What a killed process can lose is the rows of its last ``GATHER_SECONDS``; rows it had written open are closed as
``worker_lost`` by the next start.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog
import trio

from relay_trio.chunks import UsageSource
from relay_trio.errors import LedgerUnavailable
from relay_trio.ledger.database import open_database, sole_writer
from relay_trio.ledger.prices import cost_usd
from relay_trio.outcome import Word

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from relay_trio.ledger.row import LedgerRow

_log = structlog.get_logger("relay_trio.ledger")

GATHER_SECONDS = 0.02
"""From the first change to its transaction: one thread hop costs 200 us, and this makes it one for many rows."""

_RETRY_SECONDS = (0.05, 0.2, 1.0, 2.0)
_FLUSH_SECONDS = 10.0
"""At the end, shielded: the last rows of requests that were just ended must not be lost to the same shutdown."""

MAX_PENDING = 10_000

_COLUMNS = (
    "request_id", "key_id", "started_at", "route", "model", "is_stream", "provider", "account", "outcome", "code",
    "status", "attempts", "queue_ms", "connect_ms", "ttft_ms", "duration_ms", "release_ms", "upstream_close_ms",
    "sent_bytes", "chunks", "input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens",
    "total_tokens", "usage_source", "cost_usd", "client_request_id", "upstream_request_id", "cancelled_by",
)  # fmt: skip
_WRITE = (
    f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (request_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
    " WHERE outcome IS NULL"
)

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """``open_rows``: opened and not closed. ``pending``: rows that differ from what is on disk."""

    open_rows: int
    pending: int
    written_total: int
    failures_total: int
    last_error: str
    is_accepting: bool


class RowStore(Protocol):
    """Where batches go."""

    def write(self, batch: Sequence[Values]) -> None:
        """Write all of it or nothing; writing it again is harmless. Blocking.

        Raises:
            sqlite3.Error: nothing was written.
        """


class Ledger:
    """Open and close rows. The owner of both states: which rows are open, and what is not on disk yet."""

    def __init__(self, store: RowStore, *, max_pending: int = MAX_PENDING) -> None:
        self._store = store
        self._max_pending = max_pending
        self._open: set[str] = set()
        self._journal: dict[str, Values] = {}
        self._writing: dict[str, Values] = {}
        self._changed = trio.Event()
        self._written = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        self._written_total = 0
        self._failures_total = 0
        self._last_error = ""

    @property
    def open_rows(self) -> int:
        """Rows opened and not closed."""
        return len(self._open)

    def open_row(self, row: LedgerRow) -> None:
        """Open ``row``.

        Raises:
            LedgerUnavailable: as many rows wait to be written as may.
        """
        if not self._is_accepting:
            raise LedgerUnavailable(
                "the ledger cannot be written, and a request without a row is not served", retry_after=5
            )
        assert row.request_id not in self._open, "a row was opened twice"
        self._open.add(row.request_id)
        self._note(row)

    def close_row(self, row: LedgerRow) -> None:
        """Close ``row`` with what it holds now. Always accepted."""
        assert row.outcome is not None, "a row was closed without an outcome"
        self._open.remove(row.request_id)
        self._note(row)

    def statistics(self) -> LedgerStatistics:
        return LedgerStatistics(
            len(self._open),
            self._pending,
            self._written_total,
            self._failures_total,
            self._last_error,
            self._is_accepting,
        )

    async def wait_written(self) -> None:
        """Wait until every change so far is on disk. Cancelled here: atomic."""
        while self._pending:
            await self._written.wait()

    async def run(self) -> None:
        """Write batches for ever. Cancelled here: atomic; a batch in its thread is finished first."""
        while True:
            await self._changed.wait()
            await trio.sleep(GATHER_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending, again after a failure, until nothing is.

        Cancelled here: safe to retry; what is not written stays in the journal.
        """
        failures = 0
        while self._journal:
            if await self._write_batch():
                failures = 0
            else:
                await trio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1

    @property
    def _pending(self) -> int:
        return len(self._journal) + len(self._writing)

    @property
    def _is_accepting(self) -> bool:
        return self._pending < self._max_pending

    def _note(self, row: LedgerRow) -> None:
        self._journal[row.request_id] = _values(row)
        self._changed.set()

    async def _write_batch(self) -> bool:
        async with self._limiter:  # one batch at a time, also when the final flush meets the writer task
            batch, self._journal = self._journal, {}
            self._writing = batch
            self._changed = trio.Event()
            try:
                # Not abandoned on cancel: the thread's outcome decides what is still pending.
                await trio.to_thread.run_sync(self._store.write, list(batch.values()))
            except sqlite3.Error as error:
                self._failures_total += 1
                self._last_error = str(error)
                _log.error("ledger write failed", error=str(error), pending=len(batch))
                self._journal = {**batch, **self._journal}
                self._changed.set()
                return False
            except BaseException:  # cancelled before the thread began
                self._journal = {**batch, **self._journal}
                self._changed.set()
                raise
            finally:
                self._writing = {}
            self._written_total += len(batch)
            if not self._journal:
                self._written.set()
                self._written = trio.Event()
            return True


class SqliteStore:
    """Batches into the database file."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def write(self, batch: Sequence[Values]) -> None:
        """One transaction. Prices are looked up here, in the thread, not on the event loop."""
        rows = [_priced(values) for values in batch]
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(_WRITE, rows)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def close_lost_rows(self) -> int:
        """Close what a killed process left open; tell how many there were."""
        cursor = self._database.execute(
            "UPDATE requests SET outcome = ?, code = 'WD' WHERE outcome IS NULL", (Word.WORKER_LOST.value,)
        )
        return cursor.rowcount


@asynccontextmanager
async def open_ledger(path: Path) -> AsyncIterator[Ledger]:
    """The ledger in the file ``path``, with its writer running. Leaving it writes everything that is pending.

    Raises:
        DatabaseError: the file cannot be used, or another process writes to it.

    Cancelled here: not cancellable while the last rows are written, for ``_FLUSH_SECONDS`` at the most.
    """
    with sole_writer(path):
        database = await trio.to_thread.run_sync(open_database, path)
        try:
            store = SqliteStore(database)
            lost = await trio.to_thread.run_sync(store.close_lost_rows)
            if lost:
                _log.warning("rows of a killed process closed as lost", rows=lost)
            ledger = Ledger(store)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ledger.run)
                try:
                    yield ledger
                finally:
                    nursery.cancel_scope.cancel()
                    with trio.move_on_after(_FLUSH_SECONDS, shield=True):
                        await ledger.flush()
                    if ledger.statistics().pending:
                        _log.error("rows could not be written", rows=ledger.statistics().pending)
        finally:
            database.close()


def _values(row: LedgerRow) -> Values:
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


_MODEL, _PROVIDER, _COST = (_COLUMNS.index(name) for name in ("model", "provider", "cost_usd"))


def _priced(values: Values) -> Values:
    """The values with the cost in place of the usage that it is computed from."""
    usage = values[_COST]
    cost = None if usage is None else cost_usd(values[_PROVIDER], values[_MODEL], usage)
    return (*values[:_COST], cost, *values[_COST + 1 :])
