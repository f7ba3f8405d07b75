"""Opening the file: made, migrated or refused with a reason and a fix; what SQLite says is explained."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay_trio.storage import sqlite as database_module
from relay_trio.storage.lock import sole_writer
from relay_trio.storage.schema import MIGRATIONS, SCHEMA_VERSION
from relay_trio.storage.sqlite import inspect, open_database, open_read_only, require_writable
from relay_trio.storage.storage_error import RowRefused, SchemaTooNew, StorageError
from tests.storage.users import unprivileged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


INSERT = "INSERT INTO keys (name, digest, last4, models, created_at) VALUES ('a', x'00', '', '', 0)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


def made(path: Path) -> Path:
    open_database(path).close()
    return path


def set_pragma(path: Path, pragma: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA {pragma}")


def test_a_new_file_is_for_its_owner_alone_with_all_that_sqlite_puts_beside_it(path: Path) -> None:
    mask = os.umask(0)
    try:
        with sole_writer(path), closing(open_database(path)) as database:
            database.execute(INSERT)
            modes = {place.name: stat.S_IMODE(place.stat().st_mode) for place in path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert modes == dict.fromkeys(("relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"), 0o600)


def test_it_is_opened_so_that_readers_and_the_writer_do_not_wait_for_each_other(path: Path) -> None:
    with closing(open_database(path)) as database:
        pragmas = [
            database.query(f"PRAGMA {name}")[0][0]
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys", "user_version")
        ]
    assert pragmas == ["wal", 1, 5000, 1, SCHEMA_VERSION]


def test_opening_twice_changes_nothing(path: Path) -> None:
    made(path)
    with closing(open_database(path)) as first, closing(open_database(path)) as second:
        assert first.query("SELECT count(*) FROM requests") == [(0,)]
        assert second.query("PRAGMA integrity_check") == [("ok",)]


def test_processes_that_make_the_file_at_one_time_all_get_it(path: Path) -> None:
    """Whoever comes second to the migration finds nothing to do."""
    failures: list[Exception] = []
    ready = threading.Barrier(8)

    def open_at_once(place: Path) -> None:
        ready.wait()
        try:
            open_database(place).close()
        except Exception as error:
            failures.append(error)

    for attempt in range(5):
        place = path.with_name(f"{attempt}.db")
        threads = [threading.Thread(target=open_at_once, args=[place]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert str(inspect(place)) == f"schema {SCHEMA_VERSION}"


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path)
    monkeypatch.setattr(database_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    bad_step = ("CREATE TABLE later (x)", "CREATE TABLE requests (x)")
    monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, bad_step))
    with pytest.raises(StorageError, match="already exists"):
        open_database(path)
    monkeypatch.undo()
    with closing(open_database(path)) as database:
        assert database.query("SELECT count(*) FROM sqlite_schema WHERE name = 'later'") == [(0,)]


def test_an_older_file_is_brought_up_to_date_by_the_writer_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path)
    monkeypatch.setattr(database_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE later (x)",)))
    with pytest.raises(StorageError, match="start `relay-trio serve` once"):
        open_read_only(path)
    made(path)
    with closing(open_read_only(path)) as database:
        assert database.query("SELECT count(*) FROM later") == [(0,)]


def test_a_file_that_is_new_enough_for_its_user_is_not_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay of an older version may be running on it, which would refuse a newer file."""
    made(path)
    monkeypatch.setattr(database_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE later (x)",)))
    with closing(open_database(path, oldest=SCHEMA_VERSION)) as database:
        database.execute(INSERT)
    with closing(open_read_only(path, oldest=SCHEMA_VERSION)) as database:
        assert database.query("SELECT count(*) FROM keys") == [(1,)]
    assert str(inspect(path)) == f"schema {SCHEMA_VERSION}"
    open_database(path.with_name("new.db"), oldest=SCHEMA_VERSION).close()
    assert str(inspect(path.with_name("new.db"))) == f"schema {SCHEMA_VERSION + 1}"


@pytest.mark.parametrize("open_it", [open_database, open_read_only, inspect])
def test_a_newer_file_is_refused_with_both_versions(path: Path, open_it: object) -> None:
    set_pragma(made(path), "user_version = 7")
    with pytest.raises(SchemaTooNew, match=f"has schema 7, this relay-trio knows up to {SCHEMA_VERSION}; install"):
        open_it(path)  # type: ignore[operator]


@pytest.mark.parametrize("open_it", [open_database, open_read_only, inspect])
def test_what_is_no_database_is_refused_and_left_alone(path: Path, open_it: object) -> None:
    path.write_text("a text of some length, which is not what SQLite writes")
    with pytest.raises(StorageError, match=r"is not a SQLite database; set server\.ledger"):
        open_it(path)  # type: ignore[operator]
    assert path.read_text().startswith("a text")


@pytest.mark.parametrize("open_it", [open_database, open_read_only, inspect])
def test_the_database_of_another_program_is_refused(path: Path, open_it: object) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE requests (mine)")
    with pytest.raises(StorageError, match="is the database of another program"):
        open_it(path)  # type: ignore[operator]


@pytest.mark.parametrize("open_it", [open_database, inspect])
def test_a_missing_directory_is_named(path: Path, open_it: object) -> None:
    with pytest.raises(StorageError, match=r"the directory .*/nowhere does not exist"):
        open_it(path.parent / "nowhere" / "relay.db")  # type: ignore[operator]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that nobody can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
        Path(directory).chmod(0o755)


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """The file is open in another process, which has made one key. (In this process SQLite would share its rights.)"""
    code = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "insert = \"INSERT INTO keys (name, digest, last4, models, created_at) VALUES ('a', x'00', '', '', 0)\"\n"
        "database.execute(insert)\n"
        "print('ready', flush=True); input()"
    )
    made(path)
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.communicate(b"\n")


@pytest.mark.parametrize("use", [in_use, lambda path: nullcontext(made(path))], ids=["in use", "closed"])
def test_a_file_that_cannot_be_written_is_explained(
    place: Path, use: Callable[[Path], AbstractContextManager[object]]
) -> None:
    """SQLite itself would open it for reading and say nothing until the first write."""
    path = place / "relay.db"
    with use(path):
        for file in place.iterdir():
            file.chmod(0o444)
        with unprivileged(), pytest.raises(StorageError, match="make the file and its directory writable"):
            open_database(path)


@pytest.mark.parametrize("open_it", [open_read_only, inspect])
def test_a_file_that_cannot_be_read_is_explained(place: Path, open_it: Callable[[Path], object]) -> None:
    path = made(place / "relay.db")
    with unprivileged(), pytest.raises(StorageError, match="make the file and its directory accessible"):
        open_it(path)


def test_a_directory_that_cannot_be_written_is_explained(place: Path) -> None:
    place.chmod(0o555)
    with unprivileged(), pytest.raises(StorageError, match="cannot be opened for writing: Permission denied"):
        open_database(place / "relay.db")


def test_a_place_that_cannot_be_written_is_found_before_anything_is_opened(place: Path) -> None:
    path = place / "relay.db"
    with unprivileged(), pytest.raises(StorageError, match="cannot be written; make the file and its directory"):
        require_writable(path)
    require_writable(path)
    assert list(place.iterdir()) == []


def test_a_ledger_in_a_place_that_cannot_be_written_is_read(place: Path) -> None:
    """A backup on a read-only disk: SQLite would make files beside it, and there is no need for any."""
    path = made(place / "relay.db")
    path.chmod(0o444)
    place.chmod(0o555)
    with unprivileged():
        assert str(inspect(path)) == f"schema {SCHEMA_VERSION}"
        with closing(open_read_only(path)) as database:
            assert database.query("SELECT count(*) FROM requests") == [(0,)]
    assert [file.name for file in place.iterdir()] == ["relay.db"]


def test_a_ledger_in_use_is_read_with_its_newest_rows_by_whoever_may(place: Path) -> None:
    path = place / "relay.db"
    with in_use(path):
        for file in place.iterdir():
            file.chmod(0o444)
        place.chmod(0o555)
        with unprivileged(), closing(open_read_only(path)) as database:
            assert database.query("SELECT count(*) FROM keys") == [(1,)]


def test_what_sqlite_says_of_a_read_only_file_is_explained(path: Path) -> None:
    with (
        closing(open_read_only(made(path))) as database,
        pytest.raises(StorageError, match="make the file and its directory writable"),
    ):
        database.execute(INSERT)


@pytest.mark.parametrize("value", ["\ud800", 2**70, object(), None])
def test_a_value_that_cannot_be_stored_is_said_without_the_value(path: Path, value: object) -> None:
    with closing(open_database(path)) as database:
        statement = "INSERT INTO keys (name, digest, last4, models, created_at) VALUES (?, x'00', '', '', 0)"
        with pytest.raises(RowRefused, match=r"relay\.db: does not take a row") as one:
            database.execute(statement, value)
        with pytest.raises(RowRefused, match=r"relay\.db: does not take a row"):
            database.execute_many(statement, [("b",), (value,)])
        assert database.query("SELECT * FROM keys") == []
        assert "ud800" not in str(one.value)


def test_a_rule_of_the_table_that_is_broken_is_said(path: Path) -> None:
    with closing(open_database(path)) as database:
        database.execute(INSERT)
        with pytest.raises(RowRefused, match=r"UNIQUE constraint failed: keys"):
            database.execute(INSERT)


def test_a_statement_says_how_many_rows_it_changed(path: Path) -> None:
    with closing(open_database(path)) as database:
        assert database.execute(INSERT) == 1
        assert [database.execute("UPDATE keys SET name = 'b' WHERE name = 'a'") for _ in range(2)] == [1, 0]


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        open_database(tmp_path)


def test_reading_before_there_is_a_ledger_says_what_makes_one(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no ledger yet"):
        open_read_only(path)
    assert not path.exists()


def test_looking_changes_nothing(path: Path) -> None:
    assert inspect(path).is_new
    assert not path.exists()
    path.touch()
    assert inspect(path).is_new
    assert path.stat().st_size == 0


def test_a_path_with_the_signs_of_a_uri_is_a_path(tmp_path: Path) -> None:
    path = made(tmp_path / "a?mode=memory#b%41.db")
    assert path.is_file()
    open_read_only(path).close()


def test_commands_work_beside_a_relay(path: Path) -> None:
    with sole_writer(path), closing(open_database(path)), closing(open_database(path)) as beside:
        beside.execute(INSERT)
        assert beside.query("SELECT count(*) FROM keys") == [(1,)]


def test_opening_again_in_one_process_does_not_drop_the_locks_of_sqlite(path: Path) -> None:
    """A descriptor of the file that is closed by anyone but SQLite would free this process's locks on it."""
    with closing(open_database(path)) as first:
        first.query("BEGIN")
        first.query("SELECT * FROM keys")
        before = _locks_on(path)
        open_database(path).close()
        assert _locks_on(path) == before != 0


def _locks_on(path: Path) -> int:
    inode = f":{path.stat().st_ino} "
    return sum(inode in line for line in Path("/proc/locks").read_text().splitlines())
