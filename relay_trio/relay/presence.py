"""Whether the client is still there: one fact, written by the connection's side, read by the exchange."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ClientPresence:
    """``left_at``: when the client's disconnect was seen (trio clock, seconds), or None while it is there."""

    left_at: float | None = None
