"""Identifiers of the providers' form, unique over processes and simulators."""

from __future__ import annotations

import itertools
import secrets

_process = secrets.token_hex(4)
_serial = itertools.count(1)


def new_id(prefix: str) -> str:
    """``prefix_...``, never the same twice."""
    return f"{prefix}_01sim{_process}{next(_serial):010d}"
