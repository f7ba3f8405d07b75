"""Who a secret belongs to, in a running relay: a key is found by its digest, and gone within seconds of being revoked.

A key has 256 random bits, so a plain SHA-256 is all the hashing it needs (a slow hash would be a denial of service at
one per request). The ring looks a digest up in a snapshot of the stored keys. The first request after the snapshot has
become older than ``RELOAD_SECONDS`` reloads it; an idle relay reads nothing.
"""

from __future__ import annotations

import hmac
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import LedgerUnavailable
from relay_trio.keys.client_key import ClientKey, id_in_file
from relay_trio.keys.key_store import read_key_store
from relay_trio.keys.secret import digest_of
from relay_trio.storage.storage_error import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relay_trio.settings import KeySettings

RELOAD_SECONDS = 2.0
"""How old the snapshot may be. A revoked key works at most this long, and the promise is 5 s."""

STALE_SECONDS = 60.0
"""How long a snapshot serves while the database cannot be read; then its keys let nobody in."""

_READ_BUSY_SECONDS = 0.5
"""How long a reload waits for a lock: requests wait for it, and a reload that failed has the old snapshot to serve."""


@dataclass(frozen=True, slots=True)
class KeyRingStatistics:
    """``keys`` work by the last snapshot. ``failures_total``: reads that failed; ``is_stale``: the last one did."""

    keys: int
    reads_total: int
    failures_total: int
    is_stale: bool


class KeyRing:
    """Who a secret belongs to."""

    def __init__(self, path: Path | None, static: Iterable[KeySettings] = ()) -> None:
        """``path``: the database, or None for the keys of the configuration alone."""
        self._path = path
        self._static: dict[bytes, ClientKey] = {}
        self.replace_static(static)
        self._stored: dict[bytes, ClientKey] = {}
        self._digests: dict[str, bytes] = {}  # of the stored ones, by id
        self._reloaded_at = -math.inf  # of the trio clock: when the snapshot was true
        self._tried_at = -math.inf
        self._reloading = trio.Lock()
        self._thread = trio.CapacityLimiter(1)  # its own: never behind the DNS look-ups of the default one
        self._reads_total = 0
        self._failures_total = 0

    def replace_static(self, static: Iterable[KeySettings]) -> None:
        """Take ``static`` for the keys of the configuration, in place of those before. What a key has begun goes on."""
        self._static = {key.digest: key for key in map(_static_key, static)}

    @property
    def has_keys(self) -> bool:
        """Whether any key works, by the last snapshot."""
        return bool(self._static or self._stored)

    def statistics(self) -> KeyRingStatistics:
        return KeyRingStatistics(
            len(self._static) + len(self._stored),
            self._reads_total,
            self._failures_total,
            self._tried_at > self._reloaded_at,
        )

    def authenticate_nowait(self, secret: str) -> ClientKey | None:
        """The key of ``secret``, or None when it is unknown or revoked.

        Raises:
            trio.WouldBlock: the snapshot is old, ``authenticate`` would reload it.
            LedgerUnavailable: the database could not be read for ``STALE_SECONDS``.
        """
        digest = digest_of(secret)
        if digest not in self._static and self._reload_is_due:
            raise trio.WouldBlock
        return self._find(digest)

    async def authenticate(self, secret: str) -> ClientKey | None:
        """As ``authenticate_nowait``, reloading the snapshot first if it is old. Not a checkpoint if it is not.

        Cancelled here: atomic; a reload that has begun is waited for, ``_READ_BUSY_SECONDS`` at the most.
        """
        digest = digest_of(secret)
        if digest not in self._static and self._reload_is_due:
            await self.reload()
        return self._find(digest)

    def _find(self, digest: bytes) -> ClientKey | None:
        key = self._static.get(digest)
        if key is None:
            if self._path is not None and trio.current_time() - self._reloaded_at > STALE_SECONDS:
                raise LedgerUnavailable("client keys cannot be read from the database", retry_after=5)
            key = self._stored.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    async def reload(self) -> None:
        """Read the database if the snapshot is old; one reader for all who wait. A failure is counted, and keeps the
        old snapshot.

        Cancelled here: atomic, as ``authenticate``; those who wait too are not disturbed.
        """
        async with self._reloading:
            if self._reload_is_due:
                with suppress(StorageError):
                    await self._read()

    async def _read(self) -> None:
        """Replace the snapshot; called by the one reader.

        Raises:
            StorageError: the database cannot be read. It is counted, and the old snapshot stays.

        Cancelled here: as ``reload``.
        """
        assert self._path is not None
        began = trio.current_time()
        try:
            stored = await trio.to_thread.run_sync(_read_snapshot, self._path, limiter=self._thread)
        except (StorageError, OSError, ValueError) as error:  # operators see it in the statistics
            self._failures_total += 1
            self._tried_at = trio.current_time()  # tried again as late as a good one: each may wait for a lock
            raise error if isinstance(error, StorageError) else StorageError(f"{self._path}: {error}") from None
        self._take(stored)
        self._reloaded_at = self._tried_at = began
        self._reads_total += 1

    def _take(self, stored: dict[bytes, ClientKey]) -> None:
        self._stored = stored
        self._digests = {key.id: digest for digest, key in stored.items()}

    @property
    def _reload_is_due(self) -> bool:
        return self._path is not None and trio.current_time() - self._tried_at > RELOAD_SECONDS

    async def find(self, key_id: str) -> ClientKey | None:
        """The key of that id, or None when there is none or it is revoked.

        Raises:
            LedgerUnavailable: the database could not be read for ``STALE_SECONDS``.

        Cancelled here: atomic, as ``authenticate``.
        """
        static = next((key for key in self._static.values() if key.id == key_id), None)
        if static is not None:
            return static
        if self._reload_is_due:
            await self.reload()
        digest = self._digests.get(key_id)
        return None if digest is None else self._find(digest)

    async def stored_names(self) -> frozenset[str]:
        """Names of the keys in the database, which is read for it, however young the snapshot is. That a key of the
        configuration has one of them is a mistake.

        Raises:
            StorageError: the database cannot be read.

        Cancelled here: atomic, as ``reload``.
        """
        async with self._reloading:
            if self._path is not None:
                await self._read()
            return frozenset(key.name for key in self._stored.values())


async def open_key_ring(path: Path | None, static: Iterable[KeySettings] = ()) -> KeyRing:
    """A ring over the database (which exists: the ledger was opened) and the keys of the configuration.

    Raises:
        StorageError: a name stands in both, or the keys cannot be read.

    Cancelled here: atomic, as ``KeyRing.reload``.
    """
    static = tuple(static)
    ring = KeyRing(path, static)
    stored = await ring.stored_names()
    if names := sorted(stored.intersection(key.name for key in static)):
        raise StorageError(
            f"{path}: has a key named {', '.join(names)}, and so has a [[key]] of the configuration; revoke it with "
            "`relay-trio keys revoke`, or rename the [[key]]: a name stands in one place"
        )
    return ring


def _static_key(settings: KeySettings) -> ClientKey:
    secret = settings.secret.get_secret_value()
    return ClientKey(id_in_file(settings.name), settings.name, digest_of(secret), secret[-4:], tuple(settings.models))


def _read_snapshot(path: Path) -> dict[bytes, ClientKey]:
    """The keys that work, by digest. Blocking. A connection for each read costs little, and none has to be kept."""
    with read_key_store(path, busy_seconds=_READ_BUSY_SECONDS) as store:
        return {key.digest: key for key in store.working_keys()}
