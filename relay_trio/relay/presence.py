"""Whether the client is still there: one fact, written by the connection's side, read by the exchange."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ClientPresence:
    """``left_at``: when the loss of the client was seen (trio clock, seconds), or None while it is there.

    ``has_timed_out``: it did not leave, it was cut, because it stopped reading or sending.
    """

    left_at: float | None = None
    has_timed_out: bool = False
