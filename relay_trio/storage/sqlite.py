"""The one SQLite file: how it is opened, which versions of it are taken, and who may be its relay.

Rows of requests and client keys live in it; secrets never do (keys are stored as digests). One relay process writes to
one file, which a lock enforces: a second one would close the first one's open rows as lost. The commands ``keys`` and
``usage`` work beside it.

The file is never opened by other means than SQLite once it exists: closing any descriptor of it would drop the locks
that SQLite holds for this process (POSIX), and with them the soundness of the file
(https://www.sqlite.org/howtocorrupt.html section 2.2). The relay's own lock is therefore on a file beside it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_trio.storage.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's write; ``keys`` and the relay write for less than a millisecond."""


class DatabaseError(Exception):
    """The file cannot be used; the message names it, the reason and the fix."""


class DatabaseTooNew(DatabaseError):
    """A newer relay-trio wrote the file."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What ``check`` shows: ``state`` in words, and how many keys are not revoked."""

    state: str
    active_keys: int


def open_database(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """The file for reading and writing, created (mode 0600) or migrated as needed. Blocking.

    Raises:
        DatabaseError: with the reason and the fix.
    """
    _require_directory(path)
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise DatabaseError(f"{path}: {_FIXES[sqlite3.SQLITE_READONLY]}")  # SQLite would open it for reading
        database = _connect(path, "rw", busy_seconds)
    except (OSError, sqlite3.Error) as error:
        raise explained(path, error) from None
    with _closing_on_error(path, database):
        _migrate(database, path)
        if _journal_mode_wal(database, busy_seconds) != "wal":
            raise DatabaseError(f"{path}: its file system has no shared memory; put server.ledger on a local disk")
        database.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing, a power cut the last commits
        database.execute("PRAGMA foreign_keys = ON")
    return database


def open_read_only(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """The file for reading, beside a relay that writes. Blocking.

    Raises:
        DatabaseError: it does not exist, is newer, has no tables yet, or is no ledger.
    """
    if not path.is_file():
        raise DatabaseError(f"{path}: there is no ledger yet; `relay-trio serve` and `relay-trio keys create` make it")
    database = _connect_to_read(path, busy_seconds)
    with _closing_on_error(path, database):
        version = _version(database, path)
        if version < SCHEMA_VERSION:
            raise DatabaseError(
                f"{path}: has schema {version}, this relay-trio reads {SCHEMA_VERSION}; start `relay-trio serve` once, "
                "which brings it up to date"
            )
    return database


def inspect(path: Path) -> DatabaseState:
    """What there is at ``path``, without changing anything. Blocking.

    Raises:
        DatabaseError: a relay could not start with it.
    """
    if not path.exists():
        _require_directory(path)
        return DatabaseState("new", 0)
    database = _connect_to_read(path, BUSY_SECONDS)
    with closing(database), _closing_on_error(path, database):
        version = _version(database, path)
        if version == 0:
            return DatabaseState("new", 0)
        (keys,) = database.execute("SELECT count(*) FROM keys WHERE revoked_at IS NULL").fetchone()
    return DatabaseState(f"schema {version}", int(keys))


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the right to be the relay process of this file. The system gives it back when the process ends, however.

    Raises:
        DatabaseError: another process has it.
    """
    _require_directory(path)
    place = f"{os.path.realpath(path)}.lock"  # one lock for one file, whatever links lead to it
    try:
        descriptor = os.open(place, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise DatabaseError(f"{place}: cannot be opened: {error.strerror}; make its directory writable") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise DatabaseError(
                f"{path}: another relay-trio process (pid {holder}) writes to this ledger; "
                "stop it, or give this one its own server.ledger"
            ) from None
        except OSError as error:
            raise DatabaseError(
                f"{place}: cannot be locked: {error.strerror}; put server.ledger on a local disk"
            ) from None
        with suppress(OSError):  # on a full disk: it is only for the message of the other process
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


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
    """For reading. In a place that cannot be written (a backup on a read-only disk), SQLite cannot make the files that
    it wants beside the file, but where no log lies beside it, no relay has it open and it can be read as it stands.

    Raises:
        DatabaseError: it cannot be read.
    """
    try:
        database = _connect(path, "ro", busy_seconds)
        try:
            database.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            database.close()
            if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) or os.path.exists(f"{path}-wal"):
                raise
            return _connect(path, "ro&immutable=1", busy_seconds)
        except sqlite3.Error:
            database.close()
            raise
    except sqlite3.Error as error:
        raise explained(path, error) from None
    return database


def _require_directory(path: Path) -> None:
    if not path.parent.is_dir():
        raise DatabaseError(f"{path}: the directory {path.parent} does not exist; create it or set server.ledger")


def _version(database: sqlite3.Connection, path: Path) -> int:
    """The schema of the file; 0 if it is empty.

    Raises:
        DatabaseError: it is too new, or the database of another program.
    """
    with _one_moment(database):
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (version or application or tables):
        raise DatabaseError(f"{path}: is the database of another program; set server.ledger to another file")
    if version > SCHEMA_VERSION:
        raise DatabaseTooNew(
            f"{path}: has schema {version}, this relay-trio knows up to {SCHEMA_VERSION}; "
            "install the newer relay-trio again, or set server.ledger to another file"
        )
    return int(version)


@contextmanager
def _one_moment(database: sqlite3.Connection) -> Iterator[None]:
    """Read the file as it is at one moment: another process may be migrating it."""
    if database.in_transaction:
        yield
        return
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("ROLLBACK")


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    """Take the missing steps, all or none; whoever comes second to the lock finds nothing to do."""
    if _version(database, path) == SCHEMA_VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[_version(database, path) :]:
        for statement in step:
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("COMMIT")


def _journal_mode_wal(database: sqlite3.Connection, busy_seconds: float) -> str:
    """Ask for WAL. Two processes that do so at one time get SQLITE_BUSY at once, whatever the busy timeout is: the one
    lock that SQLite does not wait for."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            (mode,) = database.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return str(mode)


@contextmanager
def _closing_on_error(path: Path, database: sqlite3.Connection) -> Iterator[None]:
    """Close ``database`` when the block fails, and explain what SQLite says."""
    try:
        yield
    except sqlite3.Error as error:
        database.close()
        raise explained(path, error) from None
    except BaseException:
        database.close()
        raise


_FIXES = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database; set server.ledger to another file",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup, or move it away to start a new one",
    sqlite3.SQLITE_READONLY: "cannot be written; make the file and its directory writable for this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; make the file and its directory accessible for this user",
    sqlite3.SQLITE_BUSY: "is locked by another program; close whatever has it open for writing",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full; free some space",
}


def explained(path: Path, error: OSError | sqlite3.Error) -> DatabaseError:
    """``error`` with the file and what helps."""
    if isinstance(error, OSError):
        return DatabaseError(f"{path}: cannot be opened for writing: {error.strerror or error}")
    return DatabaseError(f"{path}: {_FIXES.get(_code(error), str(error))}")


def _code(error: sqlite3.Error) -> int:
    """SQLite's code, without its extended part; 0 for what its adapter says by itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
