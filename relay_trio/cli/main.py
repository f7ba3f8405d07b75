"""The ``relay-trio`` command: its verbs, one file each."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CoercionError, CycloptsError, CycloptsPanel, UnusedCliTokensError

from relay_trio import __version__
from relay_trio.cli.check import check
from relay_trio.cli.init import init
from relay_trio.cli.keys import keys
from relay_trio.cli.serve import serve
from relay_trio.cli.usage import usage
from relay_trio.demo.demo import demo

_READER_LEFT = 141
"""128 + SIGPIPE: what a shell shows for a program of C that ends in this way."""

_KINDS = {int: "a whole number", float: "a number"}


def _usage_error(error: CycloptsError) -> object:
    """What is wrong with a command line, in a frame; Cyclopts's own text, but where that shows how Python says it."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return CycloptsPanel(f"Unexpected: {' '.join(error.unused_tokens)}")
    if isinstance(error, CoercionError) and error.token is not None and error.target_type in _KINDS:
        kind = _KINDS[error.target_type]
        return CycloptsPanel(f'{error.token.keyword} must be {kind}, got "{error.token.value}".')
    return CycloptsPanel(error)


app = App(
    name="relay-trio",
    version=__version__,
    help="A streaming relay for LLM traffic that cannot leak a slot.",
    help_epilogue="Exit status: 0 success, 1 a problem that was printed, 2 wrong usage, 141 the output was closed.",
    result_action="return_value",
    error_formatter=_usage_error,
)
for verb in (demo, init, check, serve, keys, usage):
    app.command(verb)


def run() -> None:
    """Run the command line, and exit.

    The status is 0 for success, 1 for a problem that was printed, 2 for wrong usage, and ``_READER_LEFT`` where whoever
    read the output closed it (``relay-trio usage | head -1``), which ends a command silently.
    """
    try:
        status = app()
        sys.stdout.flush()
    except* BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python, which flushes once more at the end
        status = _READER_LEFT
    sys.exit(status)
