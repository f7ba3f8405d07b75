"""Time limits of one request: a scope with an error of its own, whose deadline moves with the progress.

A limit is a plain cancel scope whose expiry becomes the error that the limit stands for. There is one for each stage
of a request, not one for each chunk: ``arm`` moves the deadline, which costs a heap operation instead of a scope. The
same scope is how the relay ends a request from outside (``end_with``): the request gets an error that it can still pass
to its client, instead of a cancellation that it cannot.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import UpstreamTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from relay_trio.errors import RelayError


class Limit:
    """``with limit:`` raises ``limit.error`` when the armed deadline, or the request's total one, passes inside.

    Only its own expiry becomes an error; a cancellation from outside passes through untouched.
    """

    def __init__(self, clock: RequestClock, seconds: float, reason: Callable[[], RelayError]) -> None:
        self._clock = clock
        deadline, self._reason = clock.sooner(trio.current_time() + seconds, reason)
        self._scope = trio.CancelScope(deadline=deadline)

    def __enter__(self) -> Limit:
        self._clock.enter(self)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._clock.leave(self)
        swallowed = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise self._reason() from None
        return swallowed

    def arm(self, seconds: float, reason: Callable[[], RelayError]) -> None:
        """From now on, ``seconds`` without another ``arm`` end the block with ``reason()``, unless it is ending."""
        if self._scope.cancel_called:
            return  # the task may come through here before it notices; the reason that ended it stands
        self._scope.deadline, self._reason = self._clock.sooner(trio.current_time() + seconds, reason)

    def rearm(self, seconds: float, reason: Callable[[], RelayError]) -> None:
        """``arm`` for every chunk: moves the deadline only when it is nearer than ``seconds``, and then a bit beyond.

        So a limit that is moved a thousand times a second may pass 2 % late, never more than a second, never early.
        """
        now = trio.current_time()
        if self._reason is reason and self._scope.deadline - now >= seconds:
            return
        self.arm(seconds + min(1.0, seconds / 50), reason)

    def end_with(self, error: RelayError) -> None:
        """End the block with ``error`` now, from any task; if it is ending already, what began that stands."""
        if self._scope.cancel_called:
            return
        self._reason = lambda: error
        self._scope.cancel()


class RequestClock:
    """The total deadline of one request, and the limit it is in now."""

    def __init__(self) -> None:
        self.total_deadline = math.inf
        self._total_seconds = math.inf
        self._current: Limit | None = None
        self._ended_with: RelayError | None = None

    def set_total(self, seconds: float) -> None:
        """Start the total limit."""
        self._total_seconds = seconds
        self.total_deadline = trio.current_time() + seconds

    def total_error(self) -> RelayError:
        """What the total limit ends a request with."""
        return UpstreamTimeout(f"the answer was not whole within {self._total_seconds:g} seconds")

    def limit(self, seconds: float = math.inf, reason: Callable[[], RelayError] | None = None) -> Limit:
        """A new limit of ``seconds``, ending its block with ``reason()``; or with nothing but the total one."""
        return Limit(self, seconds, reason or self.total_error)

    def sooner(self, deadline: float, reason: Callable[[], RelayError]) -> tuple[float, Callable[[], RelayError]]:
        """The nearer of a deadline and the total one, with its reason."""
        if deadline >= self.total_deadline:
            return self.total_deadline, self.total_error
        return deadline, reason

    def enter(self, limit: Limit) -> None:
        self._current = limit
        if self._ended_with is not None:
            limit.end_with(self._ended_with)

    def leave(self, limit: Limit) -> None:
        self._current = None

    def end_with(self, error: RelayError) -> None:
        """End the request with ``error`` wherever it is: now, or as soon as it enters its next limit."""
        self._ended_with = error
        if self._current is not None:
            self._current.end_with(error)
