"""The ``relay-trio`` command: its verbs, one file each."""

from __future__ import annotations

import sys

from cyclopts import App

from relay_trio import __version__
from relay_trio.cli.check import check
from relay_trio.cli.init import init
from relay_trio.cli.keys import keys
from relay_trio.cli.serve import serve
from relay_trio.cli.usage import usage
from relay_trio.demo.demo import demo

app = App(
    name="relay-trio",
    version=__version__,
    help="A streaming relay for LLM traffic that cannot leak a slot.",
    result_action="return_value",
)
for verb in (demo, init, check, serve, keys, usage):
    app.command(verb)


def run() -> None:
    """Run the command line; exit with 0 for success, 1 for a problem that was printed, 2 for wrong usage."""
    sys.exit(app())
