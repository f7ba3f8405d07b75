"""The one SQLite file: its schema, its versions, and who may write to it.

Rows of requests and client keys live in it; secrets never do (keys are stored as digests). Migrations are numbered by
``PRAGMA user_version``. One relay process writes to one file, which a lock enforces, because a second one would close
the first one's open rows as lost; the commands ``keys`` and ``usage`` work beside it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY_SECONDS = 5.0
"""How long a statement waits for another process's write; ``keys`` and the relay write for microseconds."""

_MIGRATIONS = (
    """
    CREATE TABLE requests (
        request_id TEXT PRIMARY KEY,
        key_id TEXT NOT NULL,
        started_at REAL NOT NULL,
        route TEXT NOT NULL,
        model TEXT NOT NULL,
        is_stream INTEGER NOT NULL,
        provider TEXT NOT NULL,
        account TEXT NOT NULL,
        outcome TEXT,
        code TEXT,
        status INTEGER,
        attempts INTEGER NOT NULL,
        queue_ms REAL,
        connect_ms REAL,
        ttft_ms REAL,
        duration_ms REAL,
        release_ms REAL,
        upstream_close_ms REAL,
        sent_bytes INTEGER NOT NULL,
        chunks INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cache_creation_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL,
        total_tokens INTEGER NOT NULL,
        usage_source TEXT NOT NULL,
        cost_usd REAL,
        client_request_id TEXT NOT NULL,
        upstream_request_id TEXT NOT NULL,
        cancelled_by TEXT NOT NULL
    ) STRICT;
    CREATE INDEX requests_by_start ON requests (started_at);
    CREATE INDEX requests_by_key ON requests (key_id, started_at);
    CREATE INDEX requests_open ON requests (request_id) WHERE outcome IS NULL;
    CREATE TABLE keys (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        last4 TEXT NOT NULL,
        models TEXT NOT NULL,
        created_at REAL NOT NULL,
        revoked_at REAL
    ) STRICT;
    CREATE UNIQUE INDEX keys_live_names ON keys (name) WHERE revoked_at IS NULL;
    """,
)

SCHEMA_VERSION = len(_MIGRATIONS)


class DatabaseError(Exception):
    """The file cannot be used; the message names it, the reason and the fix."""


class DatabaseTooNew(DatabaseError):
    """A newer relay-trio wrote the file."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What ``check`` shows: ``state`` in words, and how many keys are not revoked."""

    state: str
    active_keys: int


def open_database(path: Path) -> sqlite3.Connection:
    """The file for reading and writing, created or migrated as needed. Blocking.

    Raises:
        DatabaseError: with the reason and the fix.
    """
    _require_directory(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{path}: cannot be opened for writing: {_reason(error)}") from None
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        _migrate(database, path)
    except sqlite3.Error as error:
        database.close()
        raise DatabaseError(f"{path}: {_reason(error)}") from None
    except BaseException:
        database.close()
        raise
    return database


def open_read_only(path: Path) -> sqlite3.Connection:
    """The file for reading, beside a relay that writes. Blocking.

    Raises:
        DatabaseError: it does not exist, is newer, or is no database.
    """
    if not path.is_file():
        raise DatabaseError(f"{path}: there is no ledger yet; `relay-trio serve` and `relay-trio keys create` make it")
    try:
        database = sqlite3.connect(
            f"file:{_quoted(path)}?mode=ro", uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
        )
        _version(database, path)
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {_reason(error)}") from None
    return database


def inspect(path: Path) -> DatabaseState:
    """What there is at ``path``, without changing anything. Blocking.

    Raises:
        DatabaseError: a relay could not start with it.
    """
    if not path.exists():
        _require_directory(path)
        return DatabaseState("new", 0)
    with closing(open_read_only(path)) as database:
        version = _version(database, path)
        if version == 0:
            return DatabaseState("new", 0)
        (keys,) = database.execute("SELECT count(*) FROM keys WHERE revoked_at IS NULL").fetchone()
    return DatabaseState(f"schema {version}", keys)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the right to be the relay process of this file. The system gives it back when the process ends, however.

    Raises:
        DatabaseError: another process has it.
    """
    _require_directory(path)
    descriptor = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DatabaseError(
                f"{path}: another relay-trio process writes to this ledger; stop it, or give this one its own server.ledger"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _require_directory(path: Path) -> None:
    if not path.parent.is_dir():
        raise DatabaseError(f"{path}: the directory {path.parent} does not exist; create it or set server.ledger")


def _version(database: sqlite3.Connection, path: Path) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise DatabaseTooNew(
            f"{path}: has schema {version}, this relay-trio knows up to {SCHEMA_VERSION}; "
            "install the newer relay-trio again, or set server.ledger to another file"
        )
    return int(version)


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    for number in range(_version(database, path), SCHEMA_VERSION):
        database.executescript(f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
