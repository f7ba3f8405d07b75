"""The demo's two listening sockets: bound once, and listening from then on.

A port that is looked at first and bound later can be taken in between, by a second demo for instance; and a port that
is only bound can still be taken (``SO_REUSEADDR``), so a socket listens before anybody relies on its number.
"""

from __future__ import annotations

import errno
import socket
import sys

_HOST = "127.0.0.1"


class PortUnusable(Exception):
    """The port that was chosen cannot be had; the message says which option is to change."""


def listen(option: str, chosen: int | None, usual: int) -> socket.socket:
    """A socket that listens on loopback, on the port ``chosen`` (0: any free one) or, if that is None, on ``usual``, or
    on any free one where ``usual`` is taken.

    Raises:
        PortUnusable: the chosen port is taken, or this user may not have it.
    """
    try:
        return _listening(usual if chosen is None else chosen)
    except OSError as error:
        if chosen is None:
            return _listening(0)
        if error.errno == errno.EADDRINUSE:
            reason = "the port is taken by another program"
        else:
            reason = f"the port cannot be used: {error.strerror}"
        raise PortUnusable(f"{option} {chosen}: {reason}; choose another, or 0 for any free one") from None


def _listening(port: int) -> socket.socket:
    sock = socket.socket()
    try:
        if sys.platform != "win32":  # there it would let two programs have one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((_HOST, port))
        sock.listen()
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
