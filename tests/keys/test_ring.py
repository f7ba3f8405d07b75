"""Who a secret belongs to: found, gone in time once revoked, and kept in no form that could be used."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.errors import LedgerUnavailable
from relay_trio.keys import ring as keys
from relay_trio.keys.key_store import KeyStore, open_key_store
from relay_trio.keys.ring import RELOAD_SECONDS, STALE_SECONDS, KeyRing, open_key_ring
from relay_trio.keys.secret import digest_of, generate_secret
from relay_trio.ledger.writer import open_ledger
from relay_trio.settings import KeySettings
from relay_trio.storage.storage_error import StorageError
from tests.explorer import Run, explore
from tests.ledger.rows import ended, make_row, written

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


def static(name: str, secret: str, *models: str) -> KeySettings:
    return KeySettings.model_validate({"name": name, "secret": secret, "models": models or ("*",)})


class Reads:
    """Counts the reads of a ring, and holds or breaks them. ``started`` is set when one begins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self._read = keys._read_snapshot
        monkeypatch.setattr(keys, "_read_snapshot", self)

    def __call__(self, path: Path) -> object:
        self.count += 1
        assert self.go.wait(5)
        if self.error is not None:
            raise self.error
        return self._read(path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def test_keys_of_both_places_are_found(store: KeyStore, path: Path) -> None:
    stored, secret = store.create("a", ["m"])
    ring = await open_key_ring(path, [static("b", "a-secret-of-my-own", "claude-*")])
    found = await ring.authenticate(secret)
    assert found is not None
    assert (found.id, found.name, found.models) == (stored.id, "a", ("m",))
    found = await ring.authenticate("a-secret-of-my-own")
    assert found is not None
    assert (found.id, found.name, found.models) == ("cfg_b", "b", ("claude-*",))
    assert ring.has_keys
    for wrong in ("", "rt_", secret[:-1], secret.swapcase(), generate_secret(), "\udcff", stored.digest.hex()):
        assert await ring.authenticate(wrong) is None


async def test_a_key_is_found_by_its_id_while_it_works(
    store: KeyStore, path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    key, _ = store.create("stored")
    ring = await open_key_ring(path, [static("file", "rt_file")])
    found = [await ring.find(key_id) for key_id in (key.id, "cfg_file", "k_99", "")]
    assert [known and known.name for known in found] == ["stored", "file", None, None]
    store.revoke(key.id)
    await trio.sleep(RELOAD_SECONDS + 1)
    assert await ring.find(key.id) is None


async def test_a_ring_without_a_database_has_the_keys_of_the_configuration() -> None:
    ring = KeyRing(None, [static("b", "s3cret")])
    assert ring.authenticate_nowait("s3cret") is not None
    assert ring.authenticate_nowait("other") is None
    assert await ring.authenticate("other") is None
    assert not KeyRing(None).has_keys


async def test_changes_are_seen_in_time_and_an_idle_ring_reads_nothing(
    store: KeyStore, path: Path, reads: Reads, mock_clock: trio.testing.MockClock
) -> None:
    """A revoked key is gone, and a new one works, ``RELOAD_SECONDS`` later."""
    key, secret = store.create("a")
    ring = await open_key_ring(path)
    store.revoke(key.id)
    _, new_secret = store.create("a")
    assert ring.authenticate_nowait(secret) is not None
    mock_clock.jump(RELOAD_SECONDS + 0.1)
    with pytest.raises(trio.WouldBlock):
        ring.authenticate_nowait(secret)
    assert reads.count == 1
    assert await ring.authenticate(secret) is None
    assert ring.authenticate_nowait(new_secret) is not None
    mock_clock.jump(STALE_SECONDS * 10)
    await trio.testing.wait_all_tasks_blocked()
    assert reads.count == 2
    assert await ring.authenticate(new_secret) is not None
    assert ring.statistics() == keys.KeyRingStatistics(keys=1, reads_total=3, failures_total=0, is_stale=False)


async def test_all_who_wait_share_one_read_and_one_that_leaves_disturbs_nobody(
    store: KeyStore, path: Path, reads: Reads, mock_clock: trio.testing.MockClock
) -> None:
    _, secret = store.create("a")
    ring = await open_key_ring(path)
    mock_clock.jump(RELOAD_SECONDS + 1)
    reads.go.clear()
    found: list[object] = []

    async def authenticate() -> None:
        found.append(await ring.authenticate(secret))

    async def authenticate_and_leave(scope: trio.CancelScope) -> None:
        with scope:
            await authenticate()

    async with trio.open_nursery() as nursery:
        reader, waiter = trio.CancelScope(), trio.CancelScope()
        nursery.start_soon(authenticate_and_leave, reader)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(authenticate_and_leave, waiter)
        for _ in range(20):
            nursery.start_soon(authenticate)
        await trio.testing.wait_all_tasks_blocked()
        reader.cancel()
        waiter.cancel()
        reads.go.set()
    assert waiter.cancelled_caught
    assert [key is not None for key in found] == [True] * 21  # the reader's thread was waited for: it has its answer
    assert reads.count == 2


async def test_a_read_that_takes_long_is_still_an_answer(
    store: KeyStore, path: Path, reads: Reads, mock_clock: trio.testing.MockClock
) -> None:
    _, secret = store.create("a")
    ring = await open_key_ring(path)
    mock_clock.jump(RELOAD_SECONDS + 1)
    reads.go.clear()
    async with trio.open_nursery() as nursery:

        async def authenticate() -> None:
            assert await ring.authenticate(secret) is not None

        nursery.start_soon(authenticate)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(RELOAD_SECONDS * 3)
        reads.go.set()


async def test_a_database_that_cannot_be_read_is_counted_and_the_old_keys_serve_for_a_while(
    store: KeyStore, path: Path, reads: Reads, mock_clock: trio.testing.MockClock
) -> None:
    """Tried again no more often than a good one; after ``STALE_SECONDS`` only the configuration's keys are let in."""
    _, secret = store.create("a")
    ring = await open_key_ring(path, [static("b", "s3cret")])
    reads.error = StorageError("disk I/O error")
    mock_clock.jump(RELOAD_SECONDS + 1)
    for _ in range(5):
        assert await ring.authenticate(secret) is not None
    assert ring.statistics() == keys.KeyRingStatistics(keys=2, reads_total=1, failures_total=1, is_stale=True)
    mock_clock.jump(STALE_SECONDS)
    for wanted in (secret, "unknown"):
        with pytest.raises(LedgerUnavailable):
            await ring.authenticate(wanted)
    assert await ring.authenticate("s3cret") is not None
    assert reads.count == 3
    reads.error = None
    mock_clock.jump(RELOAD_SECONDS + 1)
    assert await ring.authenticate(secret) is not None
    assert not ring.statistics().is_stale


async def test_a_ring_that_never_read_lets_nobody_in_and_says_why(
    path: Path, reads: Reads, mock_clock: trio.testing.MockClock
) -> None:
    """Also at the clock's very start: nothing was read yet, which is no reason to call a key unknown."""
    reads.error = StorageError("disk I/O error")
    with pytest.raises(LedgerUnavailable):
        await KeyRing(path).authenticate("any")


async def test_a_reload_does_not_wait_behind_the_threads_of_others(
    store: KeyStore, path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """DNS look-ups that hang take all threads of the default limiter; clients must be authenticated all the same."""
    _, secret = store.create("a")
    ring = await open_key_ring(path)
    mock_clock.jump(RELOAD_SECONDS + 1)
    threads = trio.to_thread.current_default_thread_limiter()
    threads.total_tokens, before = 1, threads.total_tokens
    try:
        async with threads, trio.open_nursery() as nursery:
            nursery.start_soon(ring.authenticate, secret)
            await trio.testing.wait_all_tasks_blocked()
            is_waiting = threads.statistics().tasks_waiting
            nursery.cancel_scope.cancel()
    finally:
        threads.total_tokens = before
    assert is_waiting == 0


def test_cancel_anywhere_in_a_reload_leaves_a_ring_that_works(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_key_store(path) as store:
        _, secret = store.create("a")

    async def inline(function: object, *args: object, limiter: object = None) -> object:
        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return function(*args)  # type: ignore[operator]

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)

    async def scenario(run: Run) -> None:
        ring = await open_key_ring(path)
        await trio.sleep(RELOAD_SECONDS + 1)
        async with trio.open_nursery() as nursery:
            with run.target():
                nursery.start_soon(ring.authenticate, secret)
                assert await ring.authenticate(secret) is not None
                assert await ring.authenticate("other") is None
        assert await ring.authenticate(secret) is not None

    explore(scenario, seeds=(0, 1, 2))


async def test_a_name_in_both_places_is_refused_at_the_start(store: KeyStore, path: Path) -> None:
    store.create("a")
    for name in ("b", "c"):
        store.create(name)
    settings = [static("a", "s1"), static("b", "s2"), static("d", "s3")]
    with pytest.raises(StorageError, match=r"has a key named a, b, and so has a \[\[key\]\].*keys revoke"):
        await open_key_ring(path, settings)
    store.revoke("k_01")
    store.revoke("k_02")
    ring = await open_key_ring(path, settings)
    assert await ring.stored_names() == {"c"}
    store.create("e")
    assert await ring.stored_names() == {"c", "e"}


async def test_keys_are_made_beside_a_running_relay(path: Path) -> None:
    async with open_ledger(path) as ledger:
        ring = await open_key_ring(path)
        with open_key_store(path) as store:
            _, secret = store.create("a")
        ledger.open_row(row := make_row())
        ledger.close_row(ended(row))
        ring._tried_at = -STALE_SECONDS
        assert await ring.authenticate(secret) is not None


async def test_no_secret_is_in_any_file_or_repr(path: Path) -> None:
    """Canary: neither a made secret nor one of the configuration, whole or without what all have in common."""
    async with open_ledger(path) as ledger:
        with open_key_store(path) as store:
            key, secret = store.create("a")
            ring = await open_key_ring(path, [static("b", "canary-0123456789-secret")])
            found = [await ring.authenticate(secret), await ring.authenticate("canary-0123456789-secret")]
            ledger.open_row(row := make_row(key_id=key.id))
            ledger.close_row(ended(row))
            await written(ledger)
            files = b"".join(place.read_bytes() for place in path.parent.iterdir())
            shown = repr((store, ring, found, store.all_keys(), ring.statistics()))
    files += b"".join(place.read_bytes() for place in path.parent.iterdir())
    assert repr(key.digest) not in shown
    for canary in (secret, secret[3:-6], secret[:-4], "canary-0123456789"):
        assert canary.encode() not in files
        assert canary not in shown
    assert digest_of(secret) in files


def test_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary finds the digest, ``compare_digest`` decides: what differs must not be let in by the first alone."""
    ring = KeyRing(None, [static("b", "s3cret")])
    monkeypatch.setattr(keys, "hmac", SimpleNamespace(compare_digest=lambda left, right: False))
    assert ring.authenticate_nowait("s3cret") is None
