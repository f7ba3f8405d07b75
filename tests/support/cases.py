"""Many cases in one test."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def case(name: object) -> Iterator[None]:
    """One of many cases that share something: a failure inside says which one it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the case {name!r}")
        raise
