"""The one SQLite file of a relay: how it is opened, which versions of it are taken, and what its errors mean.

Rows of requests and client keys live in it; secrets never do (keys are stored as digests). Two stores stand on this
module, ``ledger.sqlite_store`` and ``keys.key_store``: they know the tables, and nothing of sqlite3. One relay process
writes rows to one file (``lock``); the commands ``keys`` and ``usage`` work beside it.

A file of an older schema is migrated by the relay alone, which holds that lock. A command does with the schema that it
finds, as long as that has what the command needs: a relay of the older version may be running.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay_trio.storage.lock import require_directory
from relay_trio.storage.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from relay_trio.storage.storage_error import RowRefused, SchemaTooNew, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's write; ``keys`` and the relay write for less than a millisecond."""

_EFFECTIVE_IDS = os.access in os.supports_effective_ids


class Database:
    """An open file. Blocking; one thread at a time, not always the same. Every method may raise StorageError."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of a SELECT."""
        with _explaining(self.path):
            return self._connection.execute(statement, parameters).fetchall()

    def execute(self, statement: str, *parameters: object) -> int:
        """Run one statement as a transaction of its own; how many rows it changed.

        Raises:
            RowRefused: a value cannot be stored, or breaks a rule of the table.
        """
        with _explaining(self.path), _refusing(self.path):
            return self._connection.execute(statement, parameters).rowcount

    def execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run one statement for each of ``rows``, all in one transaction: all of them or none.

        Raises:
            RowRefused: as ``execute``.
        """
        with _explaining(self.path), _refusing(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # some failures roll back by themselves
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; twice is no harm."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class FileState:
    """What stands at a path: a database of ``schema``, or with 0 nothing yet."""

    schema: int

    @property
    def is_new(self) -> bool:
        """Whether the next relay begins the file."""
        return self.schema == 0

    def __str__(self) -> str:
        return "new" if self.is_new else f"schema {self.schema}"


def open_database(path: Path, *, busy_seconds: float = BUSY_SECONDS, oldest: int | None = None) -> Database:
    """The file for reading and writing, created (mode 0600) if it is missing. Blocking.

    It is migrated if its schema is older than ``oldest`` (None: the newest), which only the holder of its lock may do.

    Raises:
        StorageError: with the reason and the fix.
    """
    require_directory(path)
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not os.access(path, os.W_OK, effective_ids=_EFFECTIVE_IDS):
            raise StorageError(f"{path}: {_FIXES[sqlite3.SQLITE_READONLY]}")  # SQLite would open it for reading
        connection = _connect(path, "rw", busy_seconds)
    except (OSError, sqlite3.Error) as error:
        raise _explained(path, error) from None
    with _closing_on_error(path, connection):
        _migrate(connection, path, _or_newest(oldest))
        if _journal_mode_wal(connection, busy_seconds) != "wal":
            raise StorageError(f"{path}: its file system has no shared memory; put server.ledger on a local disk")
        connection.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing, a power cut the last commits
        connection.execute("PRAGMA foreign_keys = ON")
    return Database(path, connection)


def open_read_only(path: Path, *, busy_seconds: float = BUSY_SECONDS, oldest: int | None = None) -> Database:
    """The file for reading, beside a relay that writes. Blocking. ``oldest`` is the oldest schema that will do (None:
    the newest).

    Raises:
        StorageError: it does not exist, is no ledger, or has a schema older than ``oldest`` or newer than ours.
    """
    if not path.is_file():
        raise StorageError(f"{path}: there is no ledger yet; `relay-trio serve` and `relay-trio keys create` make it")
    connection = _connect_to_read(path, busy_seconds)
    with _closing_on_error(path, connection):
        version = _version(connection, path)
        if version < _or_newest(oldest):
            raise StorageError(
                f"{path}: has schema {version}, this relay-trio reads {SCHEMA_VERSION}; start `relay-trio serve` once, "
                "which brings it up to date"
            )
    return Database(path, connection)


def inspect(path: Path) -> FileState:
    """What there is at ``path``, without changing anything. Blocking.

    Raises:
        StorageError: it cannot be read, or is not of a relay, or of a newer one.
    """
    if not path.exists():
        require_directory(path)
        return FileState(0)
    connection = _connect_to_read(path, BUSY_SECONDS)
    with closing(connection), _explaining(path):
        return FileState(_version(connection, path))


def require_writable(path: Path) -> None:
    """Raise StorageError where a relay could not write the file ``path``, or what it and SQLite put beside it."""
    require_directory(path)
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.W_OK, effective_ids=_EFFECTIVE_IDS):
            raise StorageError(f"{place}: {_FIXES[sqlite3.SQLITE_READONLY]}")


def _or_newest(schema: int | None) -> int:
    return SCHEMA_VERSION if schema is None else schema


def _connect(path: Path, mode: str, busy_seconds: float) -> sqlite3.Connection:
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(
        f"file:{quoted}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,  # transactions are written out where they begin
        check_same_thread=False,  # used by one thread at a time, not always the same
    )


def _connect_to_read(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """For reading. In a place that cannot be written (a backup on a read-only disk), SQLite cannot make its files
    beside the database; but where no log lies beside it, no relay has it open, and it can be read as it stands.

    Raises:
        StorageError: it cannot be read.
    """
    with _explaining(path):
        connection = _connect(path, "ro", busy_seconds)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) or os.path.exists(f"{path}-wal"):
                raise
            return _connect(path, "ro&immutable=1", busy_seconds)
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of the file; 0 if it is empty.

    Raises:
        StorageError: it is too new, or the database of another program.
    """
    with _one_moment(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (version or application or tables):
        raise StorageError(f"{path}: is the database of another program; set server.ledger to another file")
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{path}: has schema {version}, this relay-trio knows up to {SCHEMA_VERSION}; "
            "install the newer relay-trio again, or set server.ledger to another file"
        )
    return int(version)


@contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Read the file as it is at one moment: another process may be migrating it."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _migrate(connection: sqlite3.Connection, path: Path, oldest: int) -> None:
    """Take all the missing steps or none, if any is needed; who comes second to SQLite's lock finds nothing to do."""
    if _version(connection, path) >= oldest:
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path)
    if version < oldest:
        for step in MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _journal_mode_wal(connection: sqlite3.Connection, busy_seconds: float) -> str:
    """Set WAL. Two processes that do so at one time get SQLITE_BUSY at once, whatever the busy timeout is: the one lock
    that SQLite does not wait for."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return str(mode)


@contextmanager
def _closing_on_error(path: Path, connection: sqlite3.Connection) -> Iterator[None]:
    """Close ``connection`` when the block fails, and explain what SQLite says."""
    try:
        with _explaining(path):
            yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Raise what SQLite says as StorageError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(path, error) from None


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Raise what SQLite and its adapter say of a value as RowRefused. Everything else is the file's fault, and passes
    with time."""
    try:
        yield
    except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
        raise RowRefused(f"{path}: does not take a row: {error}") from None
    except (ValueError, TypeError, OverflowError):  # of the adapter; its text may hold the value
        raise RowRefused(f"{path}: does not take a row: it has a value that SQLite cannot store") from None


_FIXES = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database; set server.ledger to another file",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup, or move it away to start a new one",
    sqlite3.SQLITE_READONLY: "cannot be written; make the file and its directory writable for this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; make the file and its directory accessible for this user",
    sqlite3.SQLITE_BUSY: "is locked by another program; close whatever has it open for writing",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full; free some space",
}


def _explained(path: Path, error: OSError | sqlite3.Error) -> StorageError:
    """``error`` with the file and what helps."""
    if isinstance(error, OSError):
        return StorageError(f"{path}: cannot be opened for writing: {error.strerror or error}")
    return StorageError(f"{path}: {_FIXES.get(_code(error), str(error))}")


def _code(error: sqlite3.Error) -> int:
    """SQLite's code, without its extended part; 0 for what its adapter says by itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
