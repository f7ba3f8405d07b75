"""Large events, held small: images and other data in base64 are taken out while the event grows.

A model answers with an image, or calls a tool with a file, in one event of many megabytes, and its usage stands behind
that in the same event. So such an event has to be read and need not be held: a run of the characters that base64 is
made of says nothing to a meter. What is left is the same JSON with shorter strings: outside of strings no run is so
long, and a run that is cut short keeps its beginning, which may belong to an escape before it (``\\u00e9``).
"""

from __future__ import annotations

import re

LARGE_BYTES = 1024 * 1024
"""An event is held as it came up to this size. The largest in recordings without an image is a tenth of it."""

MAX_BYTES = 32 * 1024 * 1024
"""An event that is larger than this without its long runs is not looked at."""

_LONG_RUN = re.compile(rb"([A-Za-z0-9+/=_-]{8})[A-Za-z0-9+/=_-]{56,}+")  # possessive: no memory per character


def without_long_runs(text: bytes | bytearray) -> bytes:
    """``text`` with every run of 64 or more letters, digits and ``+/=_-`` cut to its first eight. 1 ms per megabyte."""
    return _LONG_RUN.sub(rb"\1", text)
