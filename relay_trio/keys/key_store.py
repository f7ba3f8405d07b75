"""Client keys in the database: created, listed, revoked. Blocking.

When a key was last used is not stored: the ledger's rows say it.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from relay_trio.keys.client_key import ClientKey
from relay_trio.keys.secret import digest_of, generate_secret
from relay_trio.storage.sqlite import BUSY_SECONDS, inspect, open_database, open_read_only
from relay_trio.storage.storage_error import RowRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from relay_trio.storage.sqlite import Database

_OLDEST = 1
"""The first schema with the table of keys as it is now."""

_INSERT = "INSERT INTO keys (name, digest, last4, models, created_at) VALUES (?, ?, ?, ?, ?)"
_REVOKE = "UPDATE keys SET revoked_at = ? WHERE number = ? AND revoked_at IS NULL"


class NameTaken(Exception):
    """Another key that works has this name."""


class NoSuchKey(Exception):
    """No key has this id."""


class KeyStore:
    """The keys in the database. Blocking; every method may raise StorageError. Made by ``open_key_store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, models: Sequence[str] = ("*",)) -> tuple[ClientKey, str]:
        """A new key and its secret, which is nowhere else.

        Raises:
            NameTaken: another key that works has this name.
        """
        secret = generate_secret()
        digest = digest_of(secret)
        try:
            self._database.execute(_INSERT, name, digest, secret[-4:], json.dumps(list(models)), time.time())
        except RowRefused:
            raise NameTaken(f"a key named {name} exists; revoke it first or choose another name") from None
        (key,) = self._read("digest = ?", digest)
        return key, secret

    def all_keys(self) -> list[ClientKey]:
        """Every key there ever was, oldest first."""
        return self._read("1")

    def working_keys(self) -> list[ClientKey]:
        """The keys that are not revoked, oldest first."""
        return self._read("revoked_at IS NULL")

    def revoke(self, key_id: str) -> ClientKey:
        """Revoke a key; running relays notice within ``RELOAD_SECONDS`` of the ring. Revoking twice changes nothing.

        Raises:
            NoSuchKey: no key has this id.
        """
        number = key_id.removeprefix("k_")
        if not (key_id.startswith("k_") and number.isdecimal() and number.isascii() and len(number) < 16):
            raise NoSuchKey(f"no key has the id {key_id}; ids look like k_01, see `relay-trio keys list`")
        self._database.execute(_REVOKE, time.time(), int(number))
        keys = self._read("number = ?", int(number))
        if not keys:
            raise NoSuchKey(f"no key has the id {key_id}; see `relay-trio keys list`")
        return keys[0]

    def _read(self, where: str, *parameters: object) -> list[ClientKey]:
        columns = "number, name, digest, last4, models, created_at, revoked_at"
        rows = self._database.query(f"SELECT {columns} FROM keys WHERE {where} ORDER BY number", *parameters)
        return [
            ClientKey(f"k_{number:02d}", name, digest, last4, tuple(json.loads(models)), created_at, revoked_at)
            for number, name, digest, last4, models, created_at, revoked_at in rows
        ]


@contextmanager
def open_key_store(path: Path) -> Iterator[KeyStore]:
    """The keys in the file ``path``, which is made if it is missing. Blocking; works beside a running relay.

    Raises:
        StorageError: the file cannot be used.
    """
    with closing(open_database(path, oldest=_OLDEST)) as database:
        yield KeyStore(database)


@contextmanager
def read_key_store(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Iterator[KeyStore]:
    """The keys in the file ``path`` for reading. Blocking; ``busy_seconds`` is how long it waits for another's write.

    Raises:
        StorageError: there is no such file, or it cannot be read.
    """
    with closing(open_read_only(path, busy_seconds=busy_seconds, oldest=_OLDEST)) as database:
        yield KeyStore(database)


def working_key_names(path: Path) -> tuple[str, ...]:
    """Names of the keys of the file ``path`` that are not revoked; none where no relay has begun the file yet.

    Blocking.

    Raises:
        StorageError: it cannot be read.
    """
    if inspect(path).is_new:
        return ()
    with read_key_store(path) as store:
        return tuple(key.name for key in store.working_keys())
