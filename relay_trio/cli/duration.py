"""Spans of time as operators type them: ``90s``, ``30m``, ``24h``, ``7d``."""

from __future__ import annotations

import re

_SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)


def duration_seconds(written: str) -> int:
    """The seconds that ``written`` stands for.

    Raises:
        ValueError: it is no duration, or none at all.
    """
    match = _DURATION.fullmatch(written)
    if match is None or int(match[1]) == 0:
        raise ValueError(f'must be a number and s, m, h or d, such as 24h or 7d, got "{written}"')
    return int(match[1]) * _SECONDS_OF_UNIT[match[2]]
