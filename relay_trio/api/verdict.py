"""What an upstream's error status means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.errors import UpstreamError


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an upstream's error status means for the request and for the account.

    ``retryable``: another account may do better. ``cooldown_seconds``: how long the account asked to be left alone.
    ``strike``: counts against the account's breaker. ``disable``: the account's credential is bad;
    one that can be resolved again is.
    ``is_passed_through``: the client may see the upstream's own body. ``told``: status and body that it is told instead
    of the upstream's, where its dialect is another.
    """

    error: UpstreamError
    retryable: bool = False
    cooldown_seconds: float | None = None
    strike: bool = False
    disable: bool = False
    is_passed_through: bool = True
    told: tuple[int, bytes] | None = None

    def told_as(self, status: int, body: bytes) -> Verdict:
        """The same verdict, told in the client's dialect."""
        return replace(self, told=(status, body))
