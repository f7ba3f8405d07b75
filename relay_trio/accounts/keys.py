"""Client keys: made once, stored as digests, found by digest, gone within seconds of being revoked.

A key has 256 random bits, so a plain SHA-256 is all the hashing it needs (a slow hash would be a denial of service at
one per request). The ring looks a digest up in a snapshot of the database and reloads the snapshot when it is older
than ``RELOAD_SECONDS`` and somebody asks; an idle relay reads nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import LedgerUnavailable
from relay_trio.ledger.database import DatabaseError, open_database, open_read_only

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay_trio.config import KeySettings

RELOAD_SECONDS = 2.0
"""How old the snapshot may be. A revoked key works at most this long, and the promise is 5 s."""

STALE_SECONDS = 60.0
"""How long a snapshot serves while the database cannot be read; then nobody is let in."""

PREFIX = "rt_"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client's key, without its secret. Times are epoch seconds."""

    id: str
    name: str
    digest: bytes
    last4: str
    models: tuple[str, ...] = ("*",)
    created_at: float = 0.0
    revoked_at: float | None = None
    last_used_at: float | None = None


class NameTaken(Exception):
    """Another key that works has this name."""


class NoSuchKey(Exception):
    """No key has this id."""


def generate_secret() -> str:
    """``rt_``, 256 random bits, and a checksum by which a typo can be told from a revoked key."""
    body = secrets.token_urlsafe(32)
    return f"{PREFIX}{body}{_checksum(body)}"


def is_well_formed(secret: str) -> bool:
    """Whether ``secret`` could have come from ``generate_secret``: no proof of anything but careful copying."""
    body = secret.removeprefix(PREFIX)
    return secret.startswith(PREFIX) and len(body) == 49 and _checksum(body[:-6]) == body[-6:]


def digest_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()) & 0xFFFFFF:06x}"


class KeyStore:
    """The keys in the database, for the command line. Blocking."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            DatabaseError: the file cannot be used.
        """
        self._database = open_database(path)

    def close(self) -> None:
        self._database.close()

    def create(self, name: str, models: Sequence[str] = ("*",)) -> tuple[ClientKey, str]:
        """A new key and its secret, which is nowhere else.

        Raises:
            NameTaken: another key that works has this name.
        """
        secret = generate_secret()
        try:
            self._database.execute(
                "INSERT INTO keys (name, digest, last4, models, created_at) VALUES (?, ?, ?, ?, ?)",
                (name, digest_of(secret), secret[-4:], json.dumps(list(models)), time.time()),
            )
        except sqlite3.IntegrityError:
            raise NameTaken(f"a key named {name} exists; revoke it first or choose another name") from None
        return next(key for key in self.list() if key.name == name and key.revoked_at is None), secret

    def list(self) -> list[ClientKey]:
        """Every key there ever was, oldest first."""
        return _read_keys(self._database)

    def revoke(self, key_id: str) -> ClientKey:
        """Revoke a key; running relays notice within ``RELOAD_SECONDS``. Revoking twice changes nothing.

        Raises:
            NoSuchKey: no key has this id.
        """
        found = next((key for key in self.list() if key.id == key_id), None)
        if found is None:
            raise NoSuchKey(f"no key has the id {key_id}")
        self._database.execute(
            "UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE digest = ?", (time.time(), found.digest)
        )
        return next(key for key in self.list() if key.id == key_id)


class KeyRing:
    """Who a secret belongs to."""

    def __init__(self, path: Path | None, static: Sequence[KeySettings] = ()) -> None:
        """``path``: the database, or None for the keys of the configuration alone."""
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._data_version: int | None = None
        self._static = {key.digest: key for key in (_static_key(settings) for settings in static)}
        self._keys = dict(self._static)
        self._loaded_at = -STALE_SECONDS
        self._lock = trio.Lock()

    def close(self) -> None:
        """Close the connection to the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def has_keys(self) -> bool:
        """Whether any key works, by the last snapshot."""
        return bool(self._keys)

    async def authenticate(self, secret: str) -> ClientKey | None:
        """The key of ``secret``, or None when it is unknown or revoked.

        Raises:
            LedgerUnavailable: the database could not be read for ``STALE_SECONDS``.

        Cancelled here: atomic; a reload that others wait for is finished first.
        """
        if self._path is not None and trio.current_time() - self._loaded_at > RELOAD_SECONDS:
            await self.reload()
        key = self._keys.get(digest := digest_of(secret))
        if key is None or not hmac.compare_digest(key.digest, digest):
            return None
        return key

    async def reload(self) -> None:
        """Read the database if the snapshot is old; one reader for all who wait.

        Raises:
            LedgerUnavailable: as ``authenticate``.

        Cancelled here: atomic.
        """
        async with self._lock:
            now = trio.current_time()
            if now - self._loaded_at <= RELOAD_SECONDS:
                return
            try:
                keys = await trio.to_thread.run_sync(self._read)
            except (sqlite3.Error, DatabaseError):
                if now - self._loaded_at > STALE_SECONDS:
                    raise LedgerUnavailable("client keys cannot be read from the database", retry_after=5) from None
                return
            if keys is not None:
                self._keys = {**{key.digest: key for key in keys if key.revoked_at is None}, **self._static}
            self._loaded_at = now

    def _read(self) -> list[ClientKey] | None:
        """Every key, or None when nothing changed since the last time. Blocking."""
        assert self._path is not None
        if self._database is None:
            self._database = open_read_only(self._path)
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return None
        keys = _read_keys(self._database, with_use=False)
        self._data_version = version
        return keys


async def open_key_ring(path: Path, static: Sequence[KeySettings] = ()) -> KeyRing:
    """A ring over the database (which exists: the ledger was opened) and the keys of the configuration.

    Raises:
        DatabaseError: a name stands in both.

    Cancelled here: atomic.
    """
    ring = KeyRing(path, static)
    await ring.reload()
    names = {key.name for key in ring._keys.values() if key.digest not in ring._static}
    for settings in static:
        if settings.name in names:
            ring.close()
            raise DatabaseError(f"the key name {settings.name} stands in the configuration and in {path}; revoke one")
    return ring


def _static_key(settings: KeySettings) -> ClientKey:
    secret = settings.secret.get_secret_value()
    return ClientKey(f"cfg_{settings.name}", settings.name, digest_of(secret), secret[-4:], tuple(settings.models))


def _read_keys(database: sqlite3.Connection, *, with_use: bool = True) -> list[ClientKey]:
    used = (
        dict(database.execute("SELECT key_id, max(started_at) FROM requests GROUP BY key_id").fetchall())
        if with_use
        else {}
    )
    rows = database.execute(
        "SELECT number, name, digest, last4, models, created_at, revoked_at FROM keys ORDER BY number"
    )
    return [
        ClientKey(
            f"k_{number:02d}", name, digest, last4, tuple(json.loads(models)), created, revoked,
            used.get(f"k_{number:02d}"),
        )
        for number, name, digest, last4, models, created, revoked in rows
    ]  # fmt: skip
