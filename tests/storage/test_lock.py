"""One relay for one file, by whatever name."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay_trio.storage.lock import sole_writer
from relay_trio.storage.storage_error import StorageError
from tests.storage.users import unprivileged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


def test_a_directory_that_cannot_be_written_is_explained() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with (
            unprivileged(),
            pytest.raises(StorageError, match="make its directory writable"),
            sole_writer(Path(directory) / "relay.db"),
        ):
            pass
        Path(directory).chmod(0o755)


def test_a_missing_directory_is_named(path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"the directory .*/nowhere does not exist"),
        sole_writer(path.parent / "nowhere" / "relay.db"),
    ):
        pass


def test_the_second_relay_of_a_file_is_refused_by_every_name_of_it(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with sole_writer(path):
        for name in (path, link):
            with (
                pytest.raises(StorageError, match=rf"another relay-trio process \(pid {os.getpid()}\).*; stop it"),
                sole_writer(name),
            ):
                pass
    with sole_writer(link):
        pass


def test_windows_locks_one_byte_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``msvcrt``, which refuses a byte that is locked, in the same process too; closing the file unlocks it."""
    locked: dict[int, int] = {}

    def locking(descriptor: int, mode: int, size: int) -> None:
        assert (mode, size) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) > 100, "what is locked, nobody else can read"
        inode = os.fstat(descriptor).st_ino
        if inode in locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        locked[inode] = descriptor

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    spec = importlib.util.find_spec("relay_trio.storage.lock")
    assert spec is not None
    assert spec.loader is not None
    on_windows = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(on_windows)
    with on_windows.sole_writer(path):
        with (
            pytest.raises(StorageError, match=rf"another relay-trio process \(pid {os.getpid()}\)"),
            on_windows.sole_writer(path),
        ):
            pass
    locked.clear()
    with on_windows.sole_writer(path):
        pass


def test_a_full_disk_does_not_keep_the_lock_from_being_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process id in it is only for the message of the other one."""

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with sole_writer(path), pytest.raises(StorageError, match="pid unknown"), sole_writer(path):
        pass
