"""Run the package as if this were Windows: ``python without_posix.py MODULE...`` imports them, ``demo`` runs the demo.

What only POSIX has is hidden from our modules alone, since the standard library knows for itself where it is:
``fcntl``, ``resource``, ``termios`` and others cannot be imported, and functions, signals and socket options that
Windows lacks are not there. ``msvcrt`` locks by what this system has.
"""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import socket
import sys
import types
from typing import Any

import quart_trio  # noqa: F401
import rich.live  # noqa: F401
import trio  # noqa: F401

HIDDEN_MODULES = {"fcntl", "grp", "posix", "pwd", "pty", "readline", "resource", "syslog", "termios", "tty"}
HIDDEN_FUNCTIONS = (
    *(
        "chown",
        "fchmod",
        "fchown",
        "fork",
        "geteuid",
        "getpgid",
        "getuid",
        "initgroups",
        "killpg",
        "mkfifo",
        "posix_spawn",
    ),
    *("pread", "pwrite", "readv", "writev", "sched_getaffinity", "setsid", "seteuid", "sync", "uname"),
)
HIDDEN_SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
HIDDEN_SOCKET_NAMES = (
    *("MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_REUSEPORT"),
    *("TCP_INFO", "TCP_NOTSENT_LOWAT", "TCP_USER_TIMEOUT", "TCP_QUICKACK"),
)


def msvcrt() -> types.ModuleType:
    """The one function that is used, by the lock of POSIX that is most like it: on a range, and never waiting."""
    import fcntl

    def locking(descriptor: int, mode: int, size: int) -> None:
        assert mode == module.LK_NBLCK
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, size, 0, os.SEEK_CUR)

    module: Any = types.ModuleType("msvcrt")
    module.LK_NBLCK = 2
    module.locking = locking
    return module  # type: ignore[no-any-return]


def hide() -> None:
    """From now on, our modules find what Windows has."""
    imported, stand_in = builtins.__import__, msvcrt()

    def without_posix(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if str((globals or {}).get("__name__")).startswith("relay_trio"):
            if name in HIDDEN_MODULES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if name == "msvcrt":
                return stand_in
        return imported(name, globals, locals, fromlist, level)

    builtins.__import__ = without_posix
    for place, names in ((os, HIDDEN_FUNCTIONS), (signal, HIDDEN_SIGNALS), (socket, HIDDEN_SOCKET_NAMES)):
        for name in names:
            if hasattr(place, name):
                delattr(place, name)


def main() -> int:
    hide()
    if sys.argv[1] == "demo":
        from relay_trio.cli.main import app

        return int(app(sys.argv[1:]))
    for name in sys.argv[1:]:
        importlib.import_module(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
