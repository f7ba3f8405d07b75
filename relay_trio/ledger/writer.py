"""The one writer of ledger rows: never blocks a request, never loses a row it took.

::

    open_row / close_row (synchronous) ──► journal in memory ──► one task, one transaction per batch ──► SQLite

The journal holds each row once, as it is now, so a request that begins and ends within one batch is one INSERT. A
failed write keeps its batch and is tried again: rows are known by their request id, so writing twice is writing once.
When the journal is full, new rows are refused (a request without a row is not served); closing a row never is.

The writing task is shielded from every cancellation: it is ``open_ledger`` that ends it, once what is left is written.
So there is one writer at every moment, and no cancellation can come between a batch and its row.

What a killed process can lose is the rows of its last ``GATHER_SECONDS``; rows it had written open are closed as
``worker_lost`` by the next start, which knows them by their worker.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from relay_trio.errors import LedgerUnavailable, RelayError, plain_name
from relay_trio.ledger.columns import row_values
from relay_trio.ledger.sqlite_store import open_store
from relay_trio.storage.lock import sole_writer
from relay_trio.storage.storage_error import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay_trio.ledger.columns import Values
    from relay_trio.ledger.ledger_store import LedgerStore
    from relay_trio.ledger.row import LedgerRow

_log = structlog.get_logger("relay_trio.ledger")

GATHER_SECONDS = 0.02
"""From the first change to its transaction: one thread hop costs 200 us, and this makes it one for many rows."""

MAX_PENDING = 10_000
"""Rows in the journal before new ones are refused: about 10 MB, and 20 s of outage at 500 requests/s."""

FLUSH_SECONDS = 5.0
"""At the end, shielded: the rows of requests that were just ended must not be lost to the same shutdown. Needed only
when the file cannot be written; then it is long enough for another program's transaction to end, and short enough for
a service manager that waits 10 s before it kills."""

_RETRY_SECONDS = (0.05, 0.2, 1.0, 2.0)
"""Between a failed write and the next; the last one repeats."""

_WORKER_BYTES = 4
"""Random bytes of a worker's id."""


class RowMisused(RelayError, AssertionError):
    """A row was opened twice, or closed twice, or closed without having been opened: a defect of the caller."""


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """``open_rows``: opened and not closed. ``pending``: rows whose present state is not on disk yet. ``written_total``
    counts states of rows written: two for a row that lives longer than a batch. ``last_error`` is empty while writing
    works."""

    open_rows: int
    pending: int
    written_total: int
    failures_total: int
    last_error: str
    is_accepting: bool


class Ledger:
    """Open and close rows. The owner of both states: which rows are open, and what is not on disk yet.

    ``worker`` is this process in the rows that it opens, another one with each start.
    """

    def __init__(self, store: LedgerStore, *, max_pending: int = MAX_PENDING) -> None:
        self.worker = secrets.token_hex(_WORKER_BYTES)
        self._store = store
        self._max_pending = max_pending
        self._open: set[str] = set()
        self._batches: set[str] = set()
        self._journal: dict[str, Values] = {}
        self._writing: dict[str, Values] = {}
        self._changed = trio.Event()
        self._stopping = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._thread = trio.CapacityLimiter(1)  # its own: never behind the DNS look-ups of the default one
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
            LedgerUnavailable: as many rows wait to be written as may, or the ledger is being left.
            RowMisused: it is open already, or has an outcome.
        """
        if not self._is_accepting:
            raise LedgerUnavailable(
                "the ledger cannot be written, and a request without a row is not served", retry_after=5
            )
        if row.request_id in self._open or row.outcome is not None:
            raise RowMisused(f"row {row.request_id} was opened twice")
        row.worker = self.worker
        self._open.add(row.request_id)
        self._note(row)

    def close_row(self, row: LedgerRow) -> None:
        """Close ``row`` with what it holds now. Always accepted.

        Raises:
            RowMisused: it is not open, or has no outcome.
        """
        if row.outcome is None:
            raise RowMisused(f"row {row.request_id} was closed without an outcome")
        if row.request_id not in self._open:
            raise RowMisused(f"row {row.request_id} was closed twice, or never opened")
        self._open.remove(row.request_id)
        self._note(row)

    def remember(self, batches: set[str]) -> None:
        """Take over what the file has booked already."""
        self._batches |= batches

    def book_batch(self, batch_id: str) -> bool:
        """Whether no row has the usage of this batch yet; from now on one has. The rows themselves remember it: the
        set is read from them when the ledger is opened."""
        if batch_id in self._batches:
            return False
        self._batches.add(batch_id)
        return True

    def statistics(self) -> LedgerStatistics:
        return LedgerStatistics(
            len(self._open),
            self._pending,
            self._written_total,
            self._failures_total,
            self._last_error,
            self._is_accepting,
        )

    async def run(self) -> None:
        """Write batches until ``stop``, then what is left, and return.

        Not cancellable from outside: ``stop`` ends it within ``FLUSH_SECONDS`` and the one write it may be in.
        """
        with self._scope:
            while await self._wait_for_batch():
                await self._write_until_it_works()
        if self._pending:
            _log_safely("ledger rows could not be written", rows=self._pending, error=self._last_error)

    def stop(self) -> None:
        """Take no more rows, and give ``run`` ``FLUSH_SECONDS`` to write what is left."""
        self._scope.deadline = trio.current_time() + FLUSH_SECONDS
        self._stopping.set()
        self._changed.set()

    @property
    def _pending(self) -> int:
        return len(self._journal) + len(self._writing)

    @property
    def _is_accepting(self) -> bool:
        return self._pending < self._max_pending and not self._stopping.is_set()

    def _note(self, row: LedgerRow) -> None:
        self._journal[row.request_id] = row_values(row)
        self._changed.set()

    async def _wait_for_batch(self) -> bool:
        """Wait until there is something to write and what belongs to it was gathered; False at the end of all.

        Cancelled here: atomic.
        """
        await self._changed.wait()
        await self._pause(GATHER_SECONDS)
        return bool(self._journal)  # empty only if stopped

    async def _pause(self, seconds: float) -> None:
        """Wait, but not while stopping. Cancelled here: atomic."""
        with trio.move_on_after(seconds):
            await self._stopping.wait()

    async def _write_until_it_works(self) -> None:
        """Write everything that is pending, as one transaction.

        Cancelled here: safe to retry; what is not written stays in the journal.
        """
        failures = 0
        while not await self._write_batch():
            if self._stopping.is_set():
                await trio.sleep(_RETRY_SECONDS[0])
            else:
                await self._pause(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            failures += 1

    async def _write_batch(self) -> bool:
        """Write the journal as it is now; False if that failed.

        Cancelled here: atomic; a batch whose thread has begun is waited for, and its end decides what is pending.
        """
        batch, self._journal = self._journal, {}
        self._writing = batch
        if not self._stopping.is_set():
            self._changed = trio.Event()
        is_written = False
        try:
            await trio.to_thread.run_sync(self._store.write, list(batch.values()), limiter=self._thread)
            is_written = True
        except Exception as error:  # no fault of the ledger may end a stream; operators see it logged and counted
            self._failures_total += 1
            reason = str(error) if isinstance(error, StorageError) else f"{plain_name(error)}: {error}"
            before, self._last_error = self._last_error, reason
            if self._last_error != before:
                _log_safely("ledger write failed, it will be tried again", error=self._last_error, rows=len(batch))
        finally:
            self._writing = {}
            if not is_written:
                self._journal = {**batch, **self._journal}  # what was noted since then is newer
                self._changed.set()
        if is_written:
            self._written_total += len(batch)
            self._last_error = ""
        return is_written


@asynccontextmanager
async def open_ledger(path: Path, *, max_pending: int = MAX_PENDING) -> AsyncIterator[Ledger]:
    """The ledger in the file ``path``, with its writer running. Leaving it writes everything that is pending.

    Raises:
        StorageError: the file cannot be used, or another process writes to it.

    Cancelled here: not cancellable while the last rows are written, for ``FLUSH_SECONDS`` at the most, and the moment
    that a write lasts that has begun.
    """
    with sole_writer(path):
        store = await trio.to_thread.run_sync(open_store, path)
        with closing(store):
            ledger = Ledger(store, max_pending=max_pending)
            await _close_lost_rows(store, ledger.worker)
            ledger.remember(await trio.to_thread.run_sync(store.booked_batches))
            failure: BaseException | None = None
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ledger.run, name="ledger writer")
                    try:
                        yield ledger
                    finally:
                        ledger.stop()
            except BaseExceptionGroup as group:  # the nursery is ours alone: a block's own error comes out as it is
                if len(group.exceptions) > 1:
                    raise
                (failure,) = group.exceptions
            if ledger.open_rows:
                _log_safely("rows are open at the end; the next start closes them as lost", rows=ledger.open_rows)
            if failure is not None:
                raise failure


async def _close_lost_rows(store: LedgerStore, worker: str) -> None:
    """Close the rows of every other worker: the lock says that none of them is alive. Cancelled here: atomic."""
    lost = await trio.to_thread.run_sync(store.close_lost, {worker})
    if lost:
        _log_safely("rows of a killed process were closed as lost", level=logging.WARNING, rows=lost)


def _log_safely(event: str, *, level: int = logging.ERROR, **fields: object) -> None:
    """Log, unless the log cannot be written: its disk is often the ledger's, and rows are worth more than lines."""
    with suppress(OSError):
        _log.log(level, event, **fields)
