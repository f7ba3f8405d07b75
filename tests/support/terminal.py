"""The command on a pseudo-terminal of a given width: what an operator sees, with its control sequences."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_in_a_terminal(*arguments: str, columns: int) -> Iterator[str]:
    """Whatever ``relay-trio`` with these arguments shows, until it ends."""
    import fcntl  # POSIX only, as pseudo-terminals are
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "relay_trio", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ | {"TERM": "xterm"}):
        os.close(theirs)
        try:
            while shown := os.read(ours, 65536):
                yield shown.decode()
        except OSError:  # EIO: the other end is closed
            pass
        finally:
            os.close(ours)
