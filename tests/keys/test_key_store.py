"""Keys in the database: created, listed, revoked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from relay_trio.keys.key_store import (
    KeyStore,
    NameTaken,
    NoSuchKey,
    open_key_store,
    read_key_store,
    working_key_names,
)
from relay_trio.keys.secret import digest_of
from relay_trio.storage.storage_error import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def store(path: Path) -> Iterator[KeyStore]:
    with open_key_store(path) as store:
        yield store


def test_keys_are_made_listed_and_revoked(store: KeyStore) -> None:
    first, secret = store.create("team-x", ["claude-*", "b"])
    second, _ = store.create("team-y")
    assert (first.id, first.name, first.last4, first.models) == ("k_01", "team-x", secret[-4:], ("claude-*", "b"))
    assert (second.id, second.models) == ("k_02", ("*",))
    assert first.digest == digest_of(secret)
    revoked = store.revoke("k_01")
    assert revoked.revoked_at is not None
    assert store.all_keys() == [revoked, second]
    assert store.revoke("k_01") == revoked


def test_a_name_is_one_live_keys_and_an_id_is_never_used_again(store: KeyStore) -> None:
    store.create("a")
    with pytest.raises(NameTaken, match="a key named a exists"):
        store.create("a")
    store.revoke("k_01")
    again, _ = store.create("a")
    assert again.id == "k_02"


@pytest.mark.parametrize("key_id", ["k_02", "k_", "1", "cfg_a", "k_-1", "k_²", "k_1; DROP TABLE keys", "k_" + "9" * 50])
def test_an_unknown_id_is_an_error(store: KeyStore, key_id: str) -> None:
    store.create("a")
    with pytest.raises(NoSuchKey, match="no key has the id"):
        store.revoke(key_id)
    assert store.all_keys()[0].revoked_at is None


def test_the_working_keys_are_those_that_are_not_revoked(store: KeyStore, path: Path) -> None:
    store.create("a")
    kept, _ = store.create("b")
    store.revoke("k_01")
    assert store.working_keys() == [kept]
    assert len(working_key_names(path)) == 1


def test_before_there_is_a_database_no_key_works_and_none_is_made(path: Path) -> None:
    assert working_key_names(path) == ()
    assert not path.exists()
    path.touch()
    assert working_key_names(path) == ()
    assert path.stat().st_size == 0
    path.unlink()
    with pytest.raises(StorageError, match="there is no ledger yet"), read_key_store(path):
        pass


def test_what_is_opened_for_reading_is_not_written(store: KeyStore, path: Path) -> None:
    with read_key_store(path) as reading, pytest.raises(StorageError, match="make the file and its directory writable"):
        reading.create("a")
    assert store.all_keys() == []


def test_a_locked_database_is_explained(path: Path) -> None:
    with open_key_store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store._database.query("PRAGMA busy_timeout = 10")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="is locked by another program"):
            store.create("a")
