"""The ledger in the SQLite file: rows written so that writing twice is writing once, and read back as rows and sums.

A row is written open, closed, or both; a closed row in the file is never changed again. What a row holds may come from
a client (the model's name), so a value that SQLite cannot take is made one that it can: one such row must not keep all
the others of its batch, and of every batch after it, from the file.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from relay_trio.ledger.columns import COLUMNS, row_of
from relay_trio.ledger.report import Missing, UsageLine
from relay_trio.outcome import Phase, Who, Word
from relay_trio.storage.sqlite import open_database, open_read_only
from relay_trio.storage.storage_error import RowRefused
from relay_trio.usage import UsageSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from relay_trio.ledger.columns import Column, Values
    from relay_trio.ledger.ledger_store import LedgerReport, LedgerStore
    from relay_trio.ledger.report import Grouping
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.storage.sqlite import Database

_BUSY_SECONDS = 0.5
"""How long SQLite waits for a lock before a write fails: short, because a thread that waits cannot be cancelled, and
the writer tries again anyway."""

_OLDEST_READ = 1
"""The first schema with the columns that sums need, so that usage can be read before a new relay was started."""

_LARGEST = 2**63 - 1

_NAMES = tuple(column.name for column in COLUMNS)
_WRITE = (
    f"INSERT INTO requests ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})"
    f" ON CONFLICT (request_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES[1:])}"
    " WHERE outcome IS NULL"
)

_READ = f"SELECT {', '.join(_NAMES)} FROM requests ORDER BY started_at, rowid"

_CLOSE_LOST = (
    "UPDATE requests SET outcome = ?, code = ? WHERE outcome IS NULL AND worker NOT IN (SELECT value FROM json_each(?))"
)

_GROUPS: dict[Grouping, str] = {
    "key": "key_id",
    "account": "account",
    "model": "model",
    "day": "date(started_at, 'unixepoch')",
    "outcome": "outcome || ' ' || code",
}
"""The SQL of each grouping."""


class SqliteStore:
    """``LedgerStore`` in the database file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, batch: Sequence[Values]) -> None:
        """Write all of it, in one transaction.

        Raises:
            StorageError: nothing was written, because the file cannot be.
        """
        try:
            self._database.execute_many(_WRITE, batch)
        except RowRefused:
            self._database.execute_many(_WRITE, [_writable(values) for values in batch])

    def close_lost(self, alive: Collection[str]) -> int:
        """As ``LedgerStore``. How far a lost request had come is not known, so it counts as cut in the data; its
        durations stay empty."""
        code = f"{Who.WORKER.value}{Phase.DATA.value}"
        return self._database.execute(_CLOSE_LOST, Word.WORKER_LOST.value, code, json.dumps(list(alive)))

    def booked_batches(self) -> set[str]:
        """As ``LedgerStore``."""
        return {batch for (batch,) in self._database.query("SELECT batch_id FROM requests WHERE batch_id <> ''")}

    def close(self) -> None:
        """Close the file."""
        self._database.close()


class SqliteReport:
    """``LedgerReport`` of the database file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage_by(self, grouping: Grouping, since: float) -> list[UsageLine]:
        """As ``LedgerReport``.

        Raises:
            KeyError: there is no such grouping.
        """
        group = _GROUPS[grouping]  # a constant of this file: nothing of a caller's goes into the statement
        sums = self._database.query(
            f"""
            SELECT coalesce({group}, 'open') AS name, count(*), sum(outcome IS ?),
                sum(input_tokens), sum(cache_creation_tokens), sum(cache_read_tokens), sum(output_tokens),
                total(cost_usd), sum(iif(usage_source = ?, total_tokens, 0)),
                sum(cost_usd IS NULL AND total_tokens > 0),
                sum(cost_usd IS NOT NULL AND {self._cost_note()} <> '')
            FROM requests WHERE started_at >= ? GROUP BY name ORDER BY name
            """,
            Word.CLIENT_DISCONNECT.value,
            UsageSource.PARTIAL.value,
            since,
        )
        return [UsageLine(*line) for line in sums]

    def missing(self, since: float) -> Missing:
        """As ``LedgerReport``."""
        models = self._database.query(
            "SELECT model, count(*) FROM requests WHERE started_at >= ? AND cost_usd IS NULL AND total_tokens > 0"
            " GROUP BY model ORDER BY 2 DESC, 1",
            since,
        )
        notes: Counter[str] = Counter()
        for note, requests in self._database.query(
            f"SELECT {self._cost_note()}, count(*) FROM requests"
            " WHERE started_at >= ? AND cost_usd IS NOT NULL GROUP BY 1 ORDER BY 1",
            since,
        ):
            notes.update(dict.fromkeys(filter(None, note.split(",")), requests))
        return Missing(dict(models), dict(notes.most_common()))

    def _cost_note(self) -> str:
        """The column of that name, in SQL; empty text in a file that no relay has brought up to date yet."""
        found = self._database.query("SELECT 1 FROM pragma_table_info('requests') WHERE name = 'cost_note'")
        return "cost_note" if found else "''"

    def last_used(self, key_ids: Iterable[str]) -> dict[str, float]:
        """As ``LedgerReport``. One look into the index for each key, however many requests it has."""
        statement = "SELECT max(started_at) FROM requests WHERE key_id = ?"
        found = {key_id: self._database.query(statement, key_id)[0][0] for key_id in key_ids}
        return {key_id: at for key_id, at in found.items() if at is not None}

    def rows(self) -> list[LedgerRow]:
        """As ``LedgerReport``; the file must have the newest schema."""
        return [row_of(values) for values in self._database.query(_READ)]


def open_store(path: Path) -> LedgerStore:
    """The ledger in the file ``path``, for the holder of its lock; the file is made or migrated if need be. Blocking.

    Raises:
        StorageError: the file cannot be used.
    """
    return SqliteStore(open_database(path, busy_seconds=_BUSY_SECONDS))


@contextmanager
def open_report(path: Path) -> Iterator[LedgerReport]:
    """The ledger in the file ``path`` for reading, over a connection of its own. Blocking: a web page opens and reads
    it within one call in a thread.

    Raises:
        StorageError: there is none, or it cannot be read.
    """
    with closing(open_read_only(path, oldest=_OLDEST_READ)) as database:
        yield SqliteReport(database)


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
