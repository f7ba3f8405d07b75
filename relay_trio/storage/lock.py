"""Who may be the relay of a database file: one process, by a lock on a file beside it.

The database itself is never opened by other means than SQLite once it exists: closing any descriptor of it would drop
the locks that SQLite holds for this process (POSIX), and with them the soundness of the file
(https://www.sqlite.org/howtocorrupt.html section 2.2).
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from relay_trio.storage.storage_error import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    _LOCKED_AT = 1024 * 1024
    """One byte far behind the text: on Windows nobody else can read what is locked."""

    def _lock(descriptor: int) -> None:
        """Raise BlockingIOError if another process has the lock."""
        os.lseek(descriptor, _LOCKED_AT, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None
else:

    def _lock(descriptor: int) -> None:
        """Raise BlockingIOError if another process has the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the right to be the relay of the database ``path``. The system gives it back when the process ends, however.

    Raises:
        StorageError: another process has it.
    """
    require_directory(path)
    place = f"{os.path.realpath(path)}.lock"  # one lock for one file, whatever links lead to it
    try:
        descriptor = os.open(place, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StorageError(f"{place}: cannot be opened: {error.strerror}; make its directory writable") from None
    try:
        try:
            _lock(descriptor)
        except BlockingIOError:
            os.lseek(descriptor, 0, os.SEEK_SET)
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise StorageError(
                f"{path}: another relay-trio process (pid {holder}) writes to this ledger; "
                "stop it, or give this one its own server.ledger"
            ) from None
        except OSError as error:
            raise StorageError(
                f"{place}: cannot be locked: {error.strerror}; put server.ledger on a local disk"
            ) from None
        with suppress(OSError):  # on a full disk: it is only for the message of the other process
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def require_directory(path: Path) -> None:
    """Raise StorageError if there is no directory for ``path``."""
    if not path.parent.is_dir():
        raise StorageError(f"{path}: the directory {path.parent} does not exist; create it or set server.ledger")
