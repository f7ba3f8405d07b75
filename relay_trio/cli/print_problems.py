"""How the verbs show what is wrong with a configuration: all of it at once, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay_trio.config import Problem


def print_problems(config: Path, problems: Sequence[Problem], *, end: str = "Nothing was started.") -> None:
    """Print ``problems`` of the file ``config``, with their paths in one column, and ``end`` behind their number."""
    width = max((len(problem.path) for problem in problems if problem.path != str(config)), default=0)
    print(config, file=sys.stderr)
    for problem in problems:
        path = "" if problem.path == str(config) else f"{problem.path:<{width}}   "
        print(f"  {path}{problem.message}", file=sys.stderr)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    print(f"{count}. {end}", file=sys.stderr)
