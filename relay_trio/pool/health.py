"""Whether an account may be used now: cool-downs, the breaker, and a credential that was refused.

Only ``Account.note`` and ``Account.note_success`` change it, and only what the upstream did reaches them. A client that
hangs up raises ``Cancelled``, which is no verdict, so it cannot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.settings import BreakerSettings

_LONGEST_DATED_SECONDS = 86_400.0
"""The longest rest until a date that the upstream stated. An operator may have raised the account's limit since."""


class AccountState(StrEnum):
    """What an operator sees."""

    READY = "ready"
    COOLING = "cooling"
    AUTH_FAILED = "auth_failed"


class Change(StrEnum):
    """What happened to an account."""

    EJECTED = "ejected"  # failures in a row
    COOLED_DOWN = "cooled_down"  # the upstream named a time, or the credential has to be resolved again
    DISABLED = "disabled"  # the credential was refused; an operator has to act
    BACK = "back"  # the first attempt was answered since the account came back into rotation


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A change of an account's state, for whoever watches the pool.

    ``seconds``: how long the account is out of rotation; None when it is back, or out until an operator acts.
    """

    account: str
    change: Change
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HealthStatistics:
    """``available_in_seconds`` is 0 when ready and infinite when the credential was refused."""

    state: AccountState
    available_in_seconds: float
    strikes: int
    reason: str


class Health:
    """The health of one account. Times are those of the trio clock, in seconds."""

    def __init__(self, breaker: BreakerSettings) -> None:
        self.breaker = breaker
        self._strikes = 0
        self._ejections = 0
        self._cool_until = -math.inf  # named by the upstream: always honoured
        self._ejected_until = -math.inf  # our own guess: waived when no other account is left
        self._is_disabled = False
        self.reason = ""
        """Why it was taken out of rotation last."""
        self.was_out = False
        """Whether it was taken out of rotation, and has not answered since it came back."""

    @property
    def is_disabled(self) -> bool:
        """The credential was refused; an operator has to act."""
        return self._is_disabled

    def available_at(self, *, waive_ejection: bool = False) -> float:
        """From when on the account may be used: a time of the trio clock, past or to come; infinity for never."""
        if self._is_disabled:
            return math.inf
        return self._cool_until if waive_ejection else max(self._cool_until, self._ejected_until)

    def succeed(self) -> None:
        """An attempt was answered: the strikes and ejections so far no longer count."""
        self._strikes = 0
        self._ejections = 0

    def strike(self, now: float) -> None:
        """An attempt failed by the upstream's fault. As many in a row as the breaker's ``strikes`` eject the account,
        for longer each time."""
        if not self.breaker.enabled:
            return
        self._strikes += 1
        if self._strikes >= self.breaker.strikes:
            self._strikes = 0
            self._ejections += 1
            seconds = min(self.breaker.eject_seconds * self._ejections, self.breaker.eject_max_seconds)
            self._ejected_until = max(self._ejected_until, now + seconds)
            self.reason = f"{self.breaker.strikes} failures in a row"

    def cool_down(self, now: float, seconds: float, reason: str, *, is_dated: bool = False) -> None:
        """Leave the account alone for ``seconds``, which the upstream named, such as 20.0. The setting
        ``retry_after_max_seconds`` is the longest; a day is, where it stated a date (``is_dated``). It counts with the
        breaker off too, which is about what the relay concludes from failures itself."""
        longest = _LONGEST_DATED_SECONDS if is_dated else self.breaker.retry_after_max_seconds
        seconds = min(max(seconds, 0.0), longest)
        if now + seconds > self._cool_until:
            self._cool_until = now + seconds
            self.reason = reason

    def disable(self, reason: str) -> None:
        """Take the account out until an operator acts."""
        self._is_disabled = True
        self.reason = reason

    def statistics(self, now: float) -> HealthStatistics:
        """The health as an operator sees it at the time ``now``."""
        wait = max(0.0, self.available_at() - now)
        state = AccountState.COOLING if wait else AccountState.READY
        if self._is_disabled:
            state = AccountState.AUTH_FAILED
        return HealthStatistics(state, wait, self._strikes, self.reason if state is not AccountState.READY else "")
