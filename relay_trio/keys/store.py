"""Client keys in the database, for the command line. Blocking."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from relay_trio.keys.client_key import ClientKey
from relay_trio.keys.secret import digest_of, generate_secret
from relay_trio.storage.sqlite import explained, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class NameTaken(Exception):
    """Another key that works has this name."""


class NoSuchKey(Exception):
    """No key has this id."""


class KeyStore:
    """The keys in the database, for the command line. Blocking. Made by ``open_key_store``.

    Every call may raise DatabaseError, when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = open_database(path)

    def close(self) -> None:
        """Close the file; twice is no harm."""
        self._database.close()

    def create(self, name: str, models: Sequence[str] = ("*",)) -> tuple[ClientKey, str]:
        """A new key and its secret, which is nowhere else.

        Raises:
            NameTaken: another key that works has this name.
        """
        secret = generate_secret()
        with self._explaining():
            try:
                self._database.execute(
                    "INSERT INTO keys (name, digest, last4, models, created_at) VALUES (?, ?, ?, ?, ?)",
                    (name, digest_of(secret), secret[-4:], json.dumps(list(models)), time.time()),
                )
            except sqlite3.IntegrityError:
                raise NameTaken(f"a key named {name} exists; revoke it first or choose another name") from None
            (key,) = _read_keys(self._database, "digest = ?", digest_of(secret))
        return key, secret

    def list(self) -> list[ClientKey]:
        """Every key there ever was, oldest first."""
        with self._explaining():
            return _read_keys(self._database)

    def revoke(self, key_id: str) -> ClientKey:
        """Revoke a key; running relays notice within ``RELOAD_SECONDS``. Revoking twice changes nothing.

        Raises:
            NoSuchKey: no key has this id.
        """
        number = key_id.removeprefix("k_")
        if not (key_id.startswith("k_") and number.isdecimal() and number.isascii() and len(number) < 16):
            raise NoSuchKey(f"no key has the id {key_id}; ids look like k_01, see `relay-trio keys list`")
        with self._explaining():
            self._database.execute(
                "UPDATE keys SET revoked_at = ? WHERE number = ? AND revoked_at IS NULL", (time.time(), int(number))
            )
            keys = _read_keys(self._database, "number = ?", int(number))
        if not keys:
            raise NoSuchKey(f"no key has the id {key_id}; see `relay-trio keys list`")
        return keys[0]

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explained(self._path, error) from None


@contextmanager
def open_key_store(path: Path) -> Iterator[KeyStore]:
    """The keys in the file ``path``, which is made if it is missing. Blocking; works beside a running relay.

    Raises:
        DatabaseError: the file cannot be used.
    """
    with closing(KeyStore(path)) as store:
        yield store


def _read_keys(database: sqlite3.Connection, where: str = "1", *parameters: object) -> list[ClientKey]:
    rows = database.execute(
        "SELECT number, name, digest, last4, models, created_at, revoked_at,"
        " (SELECT max(started_at) FROM requests WHERE key_id = printf('k_%02d', number))"
        f" FROM keys WHERE {where} ORDER BY number",
        parameters,
    )
    return [
        ClientKey(f"k_{number:02d}", name, digest, last4, tuple(json.loads(models)), *times)
        for number, name, digest, last4, models, *times in rows.fetchall()
    ]
