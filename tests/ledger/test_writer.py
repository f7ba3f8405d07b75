"""The ledger under load, faults, cancellation and death: rows in the file are the rows that were taken."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay_trio.errors import LedgerUnavailable
from relay_trio.ledger import sqlite_store, writer
from relay_trio.ledger.columns import row_values
from relay_trio.ledger.sqlite_store import open_report, open_store
from relay_trio.ledger.writer import Ledger, RowMisused, open_ledger
from relay_trio.outcome import Phase, ended_by_client, ended_by_shutdown
from relay_trio.storage.storage_error import StorageError
from relay_trio.usage import UsageDetails, UsageSource, UsageStats
from tests.explorer import Run, explore
from tests.ledger.rows import codes, ended, make_row, written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from relay_trio.ledger.columns import Values
    from relay_trio.ledger.row import LedgerRow


_IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""For tests that make hundreds of files: on a busy disk it is the syncs that take the time."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.01)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


class Store:
    """In memory. ``fault``, if set, is raised by each write; ``batches`` are what was written."""

    def __init__(self) -> None:
        self.batches: list[list[Values]] = []
        self.fault: Exception | None = None
        self.calls = 0

    def write(self, batch: Sequence[Values]) -> None:
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        self.batches.append(list(batch))

    def close_lost(self, alive: Collection[str]) -> int:
        return 0

    def close(self) -> None: ...


async def until(is_so: Callable[[], bool]) -> None:
    """For what no event announces."""
    with trio.fail_after(5):
        while True:
            if is_so():
                return
            await trio.sleep(0.001)


# --- the promise in plain use -------------------------------------------------------------------------------------


async def test_a_row_is_in_the_file_open_and_then_closed(path: Path) -> None:
    async with open_ledger(path) as ledger:
        row = make_row("r")
        ledger.open_row(row)
        assert ledger.open_rows == 1
        await written(ledger)
        assert codes(path) == {"r": None}
        ledger.close_row(ended(row, ended_by_client(Phase.DATA)))
        assert ledger.open_rows == 0
        await written(ledger)
        assert codes(path) == {"r": "CD"}


async def test_leaving_writes_what_was_not_written_yet(path: Path) -> None:
    with trio.fail_after(5):
        async with open_ledger(path) as ledger:
            for number in range(300):
                ledger.open_row(row := make_row(f"r{number}"))
                ledger.close_row(ended(row))
    assert list(codes(path).values()) == ["--"] * 300


async def test_many_rows_of_one_moment_are_one_transaction_and_a_short_one_is_one_insert() -> None:
    store = Store()
    ledger = Ledger(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        for _ in range(100):
            ledger.open_row(row := make_row())
            ledger.close_row(ended(row))
        await written(ledger)
        ledger.stop()
    assert [len(batch) for batch in store.batches] == [100]


async def test_a_steady_stream_is_gathered(autojump_clock: trio.testing.MockClock) -> None:
    """One batch for each ``GATHER_SECONDS``."""
    store = Store()
    ledger = Ledger(store)
    autojump_clock.autojump_threshold = 0.001

    async def steady() -> None:
        for _ in range(200):
            ledger.open_row(make_row())
            await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        nursery.start_soon(steady)
        await trio.sleep(1)
        ledger.stop()
    assert len(store.batches) < 25


async def test_an_idle_ledger_does_nothing(mock_clock: trio.testing.MockClock) -> None:
    store = Store()
    ledger = Ledger(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
        ledger.stop()
    assert store.calls == 0


def test_misuse_is_an_error_and_changes_nothing() -> None:
    ledger = Ledger(Store())
    row = make_row()
    with pytest.raises(RowMisused, match="never opened"):
        ledger.close_row(ended(make_row()))
    ledger.open_row(row)
    with pytest.raises(RowMisused, match="opened twice"):
        ledger.open_row(row)
    with pytest.raises(RowMisused, match="without an outcome"):
        ledger.close_row(row)
    assert ledger.open_rows == 1
    ledger.close_row(ended(row))
    with pytest.raises(RowMisused, match="closed twice"):
        ledger.close_row(row)
    with pytest.raises(RowMisused, match="opened twice"):
        ledger.open_row(row)
    assert (ledger.open_rows, ledger.statistics().pending) == (0, 1)


# --- when the file cannot be written ------------------------------------------------------------------------------


async def test_a_full_journal_refuses_new_rows_and_takes_every_end(path: Path) -> None:
    """At the bound: no request is served without a row, and nothing that happened is lost."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with open_ledger(path, max_pending=10) as ledger:
            other.execute("BEGIN IMMEDIATE")
            rows = [make_row() for _ in range(10)]
            for row in rows:
                ledger.open_row(row)
            with pytest.raises(LedgerUnavailable):
                ledger.open_row(make_row())
            await until(lambda: ledger.statistics().failures_total >= 3)
            statistics = ledger.statistics()
            assert not statistics.is_accepting
            assert "locked" in statistics.last_error
            for row in rows:
                ledger.close_row(ended(row))
            assert (ledger.open_rows, ledger.statistics().pending) == (0, 10)
            other.execute("ROLLBACK")
            await written(ledger)
            assert ledger.statistics().is_accepting
            assert ledger.statistics().last_error == ""
            ledger.open_row(last := make_row())
            ledger.close_row(ended(last))
    assert list(codes(path).values()) == ["--"] * 11


async def test_ends_are_taken_beyond_the_bound() -> None:
    ledger = Ledger(store := Store(), max_pending=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        rows = [make_row() for _ in range(20)]
        for at in range(0, 20, 5):
            for row in rows[at : at + 5]:
                ledger.open_row(row)
            await written(ledger)
        store.fault = StorageError("relay.db: disk I/O error")
        for row in rows:
            ledger.close_row(ended(row))
        assert ledger.statistics().pending == 20
        with pytest.raises(LedgerUnavailable):
            ledger.open_row(make_row())
        store.fault = None
        await written(ledger)
        ledger.stop()
    assert ledger.statistics().written_total == 40


@pytest.mark.parametrize("fault", [StorageError("relay.db: disk I/O error"), RuntimeError("no thread"), MemoryError()])
async def test_no_fault_of_the_store_ends_the_writer(fault: Exception) -> None:
    ledger = Ledger(store := Store())
    store.fault = fault
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.run)
            ledger.open_row(row := make_row("r"))
            await until(lambda: ledger.statistics().failures_total > 0)
            ledger.close_row(ended(row))
            store.fault = None
            await written(ledger)
            ledger.stop()
    assert store.batches == [[row_values(row)]]


async def test_a_failed_batch_does_not_undo_what_was_noted_while_it_failed() -> None:
    """The end of a request that comes during a write of its beginning that fails is what is written next."""
    ledger: Ledger

    class Slow(Store):
        def write(self, batch: Sequence[Values]) -> None:
            if self.calls == 0:
                trio.from_thread.run_sync(ledger.close_row, ended(row))
                self.fault = StorageError("relay.db: database is locked")
            try:
                super().write(batch)
            finally:
                self.fault = None

    ledger = Ledger(store := Slow())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        ledger.open_row(row := make_row())
        await until(lambda: store.batches != [])
        ledger.stop()
    assert store.batches == [[row_values(row)]]


async def test_what_is_noted_while_a_batch_is_written_is_not_taken_for_written() -> None:
    """Whoever waits for the end of a request does not go on because its beginning is on disk."""
    ledger: Ledger
    seen: list[int] = []

    class Slow(Store):
        def write(self, batch: Sequence[Values]) -> None:
            if self.calls == 0:
                trio.from_thread.run_sync(ledger.close_row, ended(row))
                trio.from_thread.run_sync(nursery.start_soon, wait)
            super().write(batch)

    async def wait() -> None:
        await written(ledger)
        seen.append(len(store.batches))
        ledger.stop()

    ledger = Ledger(store := Slow())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        ledger.open_row(row := make_row())
    assert seen == [2]


async def test_leaving_while_the_file_is_locked_ends_in_bounded_time_and_says_what_is_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch, log: list[Any]
) -> None:
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, trio.fail_after(3):
        async with open_ledger(path) as ledger:
            other.execute("BEGIN IMMEDIATE")
            ledger.open_row(row := make_row())
            ledger.close_row(ended(row))
        other.execute("ROLLBACK")
    assert {"event": "ledger rows could not be written", "rows": 1, "log_level": "error"}.items() <= log[-1].items()
    assert codes(path) == {}


async def test_leaving_waits_for_a_lock_that_is_given_back_in_time(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other, trio.fail_after(3):
        async with trio.open_nursery() as nursery:

            async def give_back() -> None:
                await trio.sleep(0.1)
                other.execute("ROLLBACK")

            async with open_ledger(path) as ledger:
                other.execute("BEGIN IMMEDIATE")
                nursery.start_soon(give_back)
                ledger.open_row(make_row("r"))
                ledger.close_row(ended(make_row("r")))
    assert codes(path) == {"r": "--"}


async def test_a_row_has_the_worker_that_opened_it_and_each_start_is_another(path: Path) -> None:
    workers = []
    for name in ("first", "second"):
        async with open_ledger(path) as ledger:
            ledger.open_row(row := make_row(name))
            workers.append(row.worker)
    assert workers[0] != workers[1]
    with open_report(path) as report:
        assert [(row.request_id, row.worker, row.outcome_code) for row in report.rows()] == [
            ("first", workers[0], "WD"),
            ("second", workers[1], None),
        ]


async def test_after_leaving_no_row_is_taken(path: Path, log: list[Any]) -> None:
    async with open_ledger(path) as ledger:
        ledger.open_row(make_row())
    with pytest.raises(LedgerUnavailable):
        ledger.open_row(make_row())
    assert log[-1] == {
        "event": "rows are open at the end; the next start closes them as lost",
        "rows": 1,
        "log_level": "error",
    }


@pytest.mark.parametrize("is_late", [False, True])
async def test_an_error_inside_the_block_comes_out_as_it_is(path: Path, is_late: bool) -> None:
    """The start of the relay happens inside, and its callers catch by type: no exception group around it."""
    error = StorageError("the name stands in both places")

    async def use() -> None:
        async with open_ledger(path) as ledger:
            ledger.open_row(row := make_row("r"))
            ledger.close_row(ended(row))
            if is_late:
                await written(ledger)
            raise error

    with pytest.raises(StorageError) as caught:
        await use()
    assert caught.value is error
    assert codes(path) == {"r": "--"}


async def test_a_group_that_the_block_raises_stays_one(path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_ledger(path):
            raise ExceptionGroup("two", [ValueError("a"), ValueError("b")])
    assert caught.value.message == "two"


async def test_a_log_on_a_full_disk_does_not_end_the_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk that the ledger cannot be written to is often the log's as well."""

    class FullLog:
        def log(self, *args: object, **fields: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_log", FullLog())
    ledger = Ledger(store := Store())
    store.fault = StorageError("relay.db: database or disk is full")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.run)
            ledger.open_row(make_row())
            await until(lambda: ledger.statistics().failures_total > 0)
            store.fault = None
            await written(ledger)
            ledger.stop()


async def test_an_outage_is_logged_once_and_not_for_every_attempt(log: list[Any]) -> None:
    ledger = Ledger(store := Store())
    store.fault = StorageError("relay.db: database or disk is full")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        ledger.open_row(make_row())
        await until(lambda: ledger.statistics().failures_total >= 5)
        store.fault = None
        ledger.stop()
    assert [line["event"] for line in log] == ["ledger write failed, it will be tried again"]


# --- cancellation -------------------------------------------------------------------------------------------------


async def _inline(function: Callable[..., Any], *args: Any, limiter: Any = None) -> Any:
    """A thread without one, for the explorer: as the real one it may be cancelled only before it begins."""
    await trio.lowlevel.checkpoint_if_cancelled()
    await trio.lowlevel.cancel_shielded_checkpoint()
    try:
        return function(*args)
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()


async def _use_and_leave(run: Run, *, is_waiting: bool, rounds: int) -> None:
    """Rows are taken before, between and while batches are written, and the scope of the ledger is cancelled."""
    taken: dict[str, LedgerRow] = {}
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as directory:
        path = Path(directory) / "relay.db"
        with run.target():
            async with open_ledger(path) as ledger:
                for number in range(rounds):
                    row = make_row(f"r{number}")
                    ledger.open_row(row)
                    taken[row.request_id] = row
                    try:
                        await trio.lowlevel.checkpoint()
                        if is_waiting:
                            await trio.sleep(0.021 * (number % 2))
                            await written(ledger)
                    finally:
                        outcome = ended_by_shutdown(Phase.DATA)
                        ledger.close_row(ended(row, outcome))
        assert codes(path) == dict.fromkeys(taken, "KD") if taken or path.exists() else True


def test_cancel_anywhere_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row that was taken is in the file, closed, at whatever step the ledger's scope was cancelled."""
    monkeypatch.setattr(trio.to_thread, "run_sync", _inline)

    async def scenario(run: Run) -> None:
        await _use_and_leave(run, is_waiting=True, rounds=3)

    assert explore(scenario, seeds=(0, 1)).runs > 40


def test_cancel_anywhere_loses_no_row_with_real_threads() -> None:
    """As above; no time has to pass, so the clock never jumps while a thread works."""

    async def scenario(run: Run) -> None:
        await _use_and_leave(run, is_waiting=False, rounds=3)

    assert explore(scenario, autojump_threshold=2).runs > 10


def test_a_second_cancel_during_the_last_flush_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", _inline)

    async def scenario(run: Run) -> None:
        with trio.CancelScope() as run.stage.outer:
            await _use_and_leave(run, is_waiting=True, rounds=2)

    def cancel_outer(run: Run) -> None:
        run.stage.outer.cancel()

    explore(scenario, again=cancel_outer, gaps=(0, 1, 3))


# --- processes ----------------------------------------------------------------------------------------------------

_RELAY = """
import sys, trio
from pathlib import Path
from relay_trio.ledger.writer import open_ledger
from tests.ledger.rows import ended, make_row, written

async def main():
    async with open_ledger(Path(sys.argv[1])) as ledger:
        rows = [make_row(f"r{number}") for number in range(4)]
        for row in rows:
            ledger.open_row(row)
        ledger.close_row(ended(rows[0]))
        await written(ledger)
        print("ready", flush=True)
        await trio.sleep(60)

trio.run(main)
"""


@pytest.fixture
def relay(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with the ledger, in which one row is closed and three are open."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", _RELAY, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env=environment) as relay:
        try:
            assert relay.stdout is not None
            assert relay.stdout.readline() == b"ready\n"
            yield relay
        finally:
            relay.kill()


@pytest.mark.e2e
async def test_kill_9_loses_no_row_and_the_next_start_closes_them(path: Path, relay: subprocess.Popen[bytes]) -> None:
    """While it lives, a second relay is refused and rows are left alone; once it is killed, its rows are closed."""
    try:
        with pytest.raises(StorageError, match=rf"another relay-trio process \(pid {relay.pid}\)"):
            async with open_ledger(path):
                pass
        assert codes(path) == {"r0": "--", "r1": None, "r2": None, "r3": None}
    finally:
        relay.send_signal(signal.SIGKILL)
        relay.wait()
    async with open_ledger(path) as ledger:
        assert ledger.open_rows == 0
    assert codes(path) == {"r0": "--", "r1": "WD", "r2": "WD", "r3": "WD"}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(duration_ms) FROM requests").fetchone() == (0,)


async def _open_and_leave(path: Path) -> None:
    async with open_ledger(path):
        pass


def test_a_start_that_fails_gives_the_file_back(path: Path) -> None:
    path.write_text("a text of some length, which is not what SQLite writes")
    for _ in range(2):
        with pytest.raises(StorageError, match="not a SQLite database"):
            trio.run(_open_and_leave, path)
    path.unlink()
    trio.run(_open_and_leave, path)


# --- any order of everything --------------------------------------------------------------------------------------


class FaultyStore:
    """The real one, which may fail before its transaction or, worse, report a failure after it."""

    def __init__(self, path: Path) -> None:
        self._store = open_store(path)
        self.faults: list[str] = []

    def close_lost(self, alive: Collection[str]) -> int:
        return self._store.close_lost(alive)

    def close(self) -> None:
        self._store.close()

    def write(self, batch: Sequence[Values]) -> None:
        fault = self.faults.pop() if self.faults else ""
        if fault == "before":
            raise StorageError("relay.db: database is locked")
        self._store.write(batch)
        if fault == "after":
            raise StorageError("relay.db: disk I/O error")


class LedgerMachine(RuleBasedStateMachine):
    """The file against a model of it: ``written`` is what must be there, whatever happened in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=_IN_MEMORY)
        self.path = Path(self.directory.name) / "relay.db"
        self.numbers = iter(range(10**6))
        self.now: dict[str, str | None] = {}
        self.written: dict[str, str | None] = {}
        self.live: dict[str, LedgerRow] = {}
        self.start()

    def start(self) -> None:
        self.store = FaultyStore(self.path)
        self.store.close_lost(())
        self.written = {name: code or "WD" for name, code in self.written.items()}
        self.now = dict(self.written)
        self.live = {}
        self.ledger = Ledger(self.store, max_pending=8)

    @rule()
    def open(self) -> None:
        row = make_row(f"r{next(self.numbers):06d}")
        pending = sum(self.now[name] != self.written.get(name, "absent") for name in self.now)
        try:
            self.ledger.open_row(row)
        except LedgerUnavailable:
            assert pending >= 8
        else:
            assert pending < 8
            self.live[row.request_id] = row
            self.now[row.request_id] = None

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.live)))
        self.ledger.close_row(ended(self.live.pop(name)))
        self.now[name] = "--"

    @rule(fault=st.sampled_from(["", "before", "after"]))
    def write(self, fault: str) -> None:
        self.store.faults = [fault] if fault else []
        with structlog.testing.capture_logs():
            is_written = trio.run(self.ledger._write_batch)
        assert is_written is not bool(fault)
        if is_written:
            self.written = dict(self.now)
        elif fault == "after":
            self.maybe_written()

    def maybe_written(self) -> None:
        """The file has it, the ledger does not know. A second write must not change that."""
        assert codes(self.path) == self.now
        self.store.faults = []
        assert trio.run(self.ledger._write_batch)
        self.written = dict(self.now)

    @rule()
    def kill(self) -> None:
        self.store.close()
        self.start()

    @invariant()
    def the_file_is_the_model(self) -> None:
        assert codes(self.path) == self.written
        assert self.ledger.open_rows == len(self.live)

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()


LedgerMachine.TestCase.settings = settings(
    max_examples=settings().max_examples // 4, stateful_step_count=20, deadline=None
)
TestAnyOrder = LedgerMachine.TestCase


# --- secrets ------------------------------------------------------------------------------------------------------


async def test_a_failure_that_is_logged_holds_no_row(path: Path, log: list[Any]) -> None:
    ledger = Ledger(store := Store())
    store.fault = StorageError("relay.db: database is locked")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.run)
        ledger.open_row(make_row("r", model="canary-model"))
        await until(lambda: ledger.statistics().failures_total > 0)
        store.fault = None
        ledger.stop()
    assert "canary" not in json.dumps(log)


async def test_a_batch_is_booked_once_also_after_a_restart(path: Path) -> None:
    """The rows remember it, and nothing else does."""
    async with open_ledger(path) as ledger:
        assert ledger.book_batch("msgbatch_1")
        assert not ledger.book_batch("msgbatch_1")
        assert ledger.book_batch("msgbatch_lost")
        row = make_row("r")
        ledger.open_row(row)
        row.usage = UsageStats(1, source=UsageSource.EXACT, details=UsageDetails(batch_id="msgbatch_1"))
        ledger.close_row(ended(row))
    async with open_ledger(path) as ledger:
        assert not ledger.book_batch("msgbatch_1")
        assert ledger.book_batch("msgbatch_lost")
