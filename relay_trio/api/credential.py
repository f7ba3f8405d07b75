"""What an account authenticates with at its upstream, and how much of a secret is shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_SHORTEST_MASKED_SECRET = 20
"""Of a shorter secret even ten characters would give too much away."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What an account authenticates with: a text, or an object that only its provider knows; good until ``expires_at``
    (epoch seconds)."""

    value: Any
    expires_at: float = math.inf

    def __repr__(self) -> str:
        return f"Credential(expires_at={self.expires_at})"


ResolveCredential = Callable[[], Credential]
"""Returns an account's credential of now. It may read files, run a program or ask a service, so it is called in a
thread. It raises UpstreamRefused where the credential cannot be had; the message holds nothing of what was found."""


def masked(secret: str) -> str:
    """Enough of ``secret`` to tell it from another one, and no more: ``sk-ant-…9f2``."""
    return f"{secret[:7]}…{secret[-3:]}" if len(secret) >= _SHORTEST_MASKED_SECRET else "…"
