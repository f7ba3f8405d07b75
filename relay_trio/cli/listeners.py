"""Addresses to listen on, by the settings that name them: whether they can be had, and what to do where not."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.config import Settings
    from relay_trio.settings.listener import Listener

_FIXES = {
    errno.EADDRINUSE: "another program, or another relay, has it: stop that, or set another port",
    errno.EACCES: "this user may not: choose a port of 1024 or more, or allow it (CAP_NET_BIND_SERVICE)",
    errno.EADDRNOTAVAIL: "this machine has no such address: 127.0.0.1 is this machine only, 0.0.0.0 every address",
    errno.ENOENT: "its directory does not exist: create it, or set another path",
}


@dataclass(frozen=True, slots=True)
class Unusable:
    """An address that cannot be had. ``setting`` names it, as in ``server.listeners[0]``."""

    setting: str
    listener: Listener
    error: OSError

    @property
    def is_taken(self) -> bool:
        """Whether somebody listens there already, which may be the relay that this configuration is of."""
        return self.error.errno == errno.EADDRINUSE

    @property
    def message(self) -> str:
        fix = _FIXES.get(self.error.errno or 0)
        reason = self.error.strerror or str(self.error)
        return f"cannot listen on {self.listener}: {reason}" + (f"; {fix}" if fix else "")


def named_listeners(settings: Settings) -> Iterator[tuple[str, Listener]]:
    """Every address with the setting that names it."""
    for index, listener in enumerate(settings.server.listeners):
        yield f"server.listeners[{index}]", listener
    yield "admin.listener", settings.admin.listener


def unusable_of(error: OSError, settings: Settings) -> Unusable | None:
    """What ``error``, raised by a relay that could not start, is about; None if it is not about a listener."""
    for setting, listener in named_listeners(settings):
        if error.filename == str(listener):
            return Unusable(setting, listener, error)
    return None


def unusable_listeners(settings: Settings) -> Iterator[Unusable]:
    """The addresses that cannot be had now. Nothing is left behind, and whoever listens there is not disturbed."""
    for setting, listener in named_listeners(settings):
        try:
            _try_unix(listener.path) if listener.is_unix else _try_tcp(listener)
        except OSError as error:
            yield Unusable(setting, listener, error)


def _try_tcp(listener: Listener) -> None:
    """Bind as the server does, and do not listen: nobody's connection comes here."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    with closing(socket.socket(family)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listener.host, listener.port))


def _try_unix(path: str) -> None:
    """Look only: binding would take the path from a relay that listens there."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(directory, os.W_OK):
        raise OSError(errno.EACCES, f"{directory} cannot be written")
