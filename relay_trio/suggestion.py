"""What was probably meant by a name that does not exist: the end of a message, the same wherever names are typed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def did_you_mean(name: object, known: Collection[str]) -> str:
    """The end of a message that suggests the one of ``known`` that is closest to ``name``; empty when none is close."""
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    return f"   did you mean {close[0]}?" if close else ""
