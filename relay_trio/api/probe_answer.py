"""What an upstream's answer to a probe says about the account's credential."""

from __future__ import annotations

from enum import Enum, auto

_REFUSALS = frozenset({401, 403})
_BUSY = frozenset({429, 529})


class ProbeAnswer(Enum):
    """What one answer to a probe shows."""

    ACCEPTED = auto()  # the credential is good
    REFUSED = auto()  # the credential is wrong
    BUSY = auto()  # the upstream is too busy to say
    UNEXPECTED = auto()  # this may not be the upstream's API at all


def probe_answer(status: int, refusals: frozenset[int] = _REFUSALS) -> ProbeAnswer:
    """What the status alone shows. ``refusals``: the statuses by which this upstream refuses a credential."""
    if 200 <= status < 300:
        return ProbeAnswer.ACCEPTED
    if status in refusals:
        return ProbeAnswer.REFUSED
    return ProbeAnswer.BUSY if status in _BUSY else ProbeAnswer.UNEXPECTED
