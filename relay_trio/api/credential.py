"""What an account authenticates with at its upstream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Credential:
    """What an account proves itself with: a text, or an object that only its provider knows; good until ``expires_at``
    (epoch seconds)."""

    value: Any
    expires_at: float = math.inf

    def __repr__(self) -> str:
        return f"Credential(expires_at={self.expires_at})"
