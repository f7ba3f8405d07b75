"""What the tables look like, in numbered steps: step n takes a file from schema n to schema n + 1.

A step that was released is never edited, only followed by another. The number of steps a file has taken is its
``PRAGMA user_version``. The columns of ``requests`` are those of ``ledger.columns``.
"""

from __future__ import annotations

APPLICATION_ID = 0x72747269
"""``rtri`` in the file's header (``PRAGMA application_id``), by which a ledger is known from other databases."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
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
        ) STRICT
        """,
        "CREATE INDEX requests_by_start ON requests (started_at)",
        "CREATE INDEX requests_by_key ON requests (key_id, started_at)",
        "CREATE INDEX requests_open ON requests (request_id) WHERE outcome IS NULL",
        """
        CREATE TABLE keys (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            digest BLOB NOT NULL UNIQUE,
            last4 TEXT NOT NULL,
            models TEXT NOT NULL,
            created_at REAL NOT NULL,
            revoked_at REAL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX keys_live_names ON keys (name) WHERE revoked_at IS NULL",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    (
        "ALTER TABLE requests ADD COLUMN worker TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE requests ADD COLUMN attempt_log TEXT NOT NULL DEFAULT '[]'",
    ),
    (
        *(
            f"ALTER TABLE requests ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
            for name in (
                "cache_creation_1h_tokens",
                "input_audio_tokens",
                "input_image_tokens",
                "input_video_tokens",
                "cache_read_audio_tokens",
                "output_audio_tokens",
                "output_image_tokens",
                "output_video_tokens",
                "web_searches",
                "grounded_answers",
                "server_side_requests",
            )
        ),
        *(
            f"ALTER TABLE requests ADD COLUMN {name} TEXT NOT NULL DEFAULT ''"
            for name in ("service_tier", "speed", "inference_geo", "cost_note", "prices_of")
        ),
    ),
    ("ALTER TABLE requests ADD COLUMN dropped TEXT NOT NULL DEFAULT ''",),
    (
        "ALTER TABLE requests ADD COLUMN batch_id TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX requests_by_batch ON requests (batch_id) WHERE batch_id <> ''",
    ),
)

SCHEMA_VERSION = len(MIGRATIONS)
