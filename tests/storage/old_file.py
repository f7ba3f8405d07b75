"""A database file as relay-trio 0.1.0 left it: by its own statements, which are a copy, because files last longer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from relay_trio.keys.secret import digest_of

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "rt_a-key-of-the-old-version"

_STATEMENTS = """
PRAGMA journal_mode = WAL;
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
PRAGMA application_id = 1920234089;
PRAGMA user_version = 1;
"""

# In the order of the columns above.
_CLOSED = (
    *("closed", "k_01", 5.0, "messages", "m", 1, "anthropic", "a", "completed", "--", 200, 1, 0.5, 1.5, 2.5, 9.5, 0.1),
    *(0.2, 1000, 7, 10, 20, 0, 0, 30, "exact", 0.25, "c", "u", ""),
)
_OPEN = (
    *("open", "k_01", 6.0, "messages", "m", 1, "anthropic", "a", None, None, None, 1, 0.5, None, None, None, None),
    *(None, 0, 0, 0, 0, 0, 0, 0, "none", None, "", "", ""),
)


def make_old_file(path: Path) -> Path:
    """A file with one key, a row that was closed, and one that the process had open when it was killed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(_STATEMENTS)
        database.execute(
            "INSERT INTO keys (name, digest, last4, models, created_at) VALUES ('team-x', ?, 'sion', '[\"*\"]', 4.0)",
            (digest_of(SECRET),),
        )
        database.executemany(f"INSERT INTO requests VALUES ({', '.join('?' * len(_OPEN))})", (_CLOSED, _OPEN))
    return path
