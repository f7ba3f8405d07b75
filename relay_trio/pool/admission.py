"""Who gets a slot next: the queue in front of the accounts, and the lease of a slot.

::

    acquire ──free slot──────────────────────────► Lease ── `with lease:` ── the slot is held ── given back
        └─ _Waiter in the queue ── _dispatch reserves ──┘                            └── _dispatch ──► next waiter

One synchronous function, ``_dispatch``, hands out free slots, first come first served among the requests that an
account can serve. It runs when something changed: a slot came back, a waiter left, a cool-down ended, an account or its
capacity is another. Nothing polls.

A slot that is handed to a waiter is *reserved* until that waiter's task runs again and enters its lease; only then is
it in use. So at every scheduler step the slots in use are exactly the attempts that live, and a waiter that was
cancelled in that very moment gives its reservation to the next one instead of taking it along.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import NoAccountInRotation, NotFound, NoUsableAccount, QueueFull
from relay_trio.settings.patterns import common

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from relay_trio.pool.account import Account
    from relay_trio.pool.health import Health
    from relay_trio.pool.policy import LeastLoaded
    from relay_trio.pool.pool import Pool

_PATTERN_CACHE_SIZE = 1024
"""Model names whose accounts are remembered. Clients choose the names, so the memory of them has a bound."""

_LISTED_NAMES = 20
"""How many models an error names."""


@dataclass(slots=True)
class SlotRequest:
    """What one request needs of the pool.

    ``order`` is its place in the queue, kept over all its attempts. ``tried`` has the health of each account that it
    was sent to: another upstream under the name of one of them may be tried, the same one may not.
    ``is_pinned``: the request is about something that lives in one account (a batch), so it always goes to the same.
    """

    model: str | None
    operation: str | None
    order: int
    is_pinned: bool = False
    tried: set[Health] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """``entered == granted + left + waiting`` at all times."""

    waiting: int
    entered: int
    granted: int
    left: int


class _Waiter:
    __slots__ = ("account", "awake", "slot_request", "timer")

    def __init__(self, slot_request: SlotRequest) -> None:
        self.slot_request = slot_request
        self.awake = trio.Event()
        self.timer = trio.CancelScope()
        self.account: Account | None = None  # set by _dispatch: a slot of it is reserved for this waiter

    def __lt__(self, other: _Waiter) -> bool:
        return self.slot_request.order < other.slot_request.order


class Lease:
    """A slot reserved for the task that was given this; entering it takes the slot, leaving it gives the slot back.

    Synchronous on both ends. Enter it without any await in between.
    """

    __slots__ = ("_admission", "account")

    def __init__(self, admission: Admission, account: Account) -> None:
        self._admission = admission
        self.account = account

    def __enter__(self) -> Account:
        self._admission._take(self.account)
        return self.account

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission._give_back(self.account)


class Admission:
    """Leases slots of the pool's accounts. ``max_waiting``: how many requests may wait for one."""

    def __init__(self, pool: Pool, policy: LeastLoaded, *, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._pool = pool
        self._slots = pool.slots
        self._policy = policy
        self._waiters: list[_Waiter] = []
        self._orders = 0
        self._entered = self._granted = self._left = 0
        self._by_model: dict[tuple[str | None, str | None], tuple[Account, ...]] = {}
        pool.on_change(self._accounts_changed)

    # --- what a request does --------------------------------------------------------------------------------------

    def new_request(
        self,
        model: str | None,
        operation: str | None = None,
        *,
        is_pinned: bool = False,
        allowed: Sequence[str] = ("*",),
    ) -> SlotRequest:
        """A place in the queue. ``allowed`` are the patterns of the models that the client may use, all of which are
        named to it where ``model`` is none of them.

        Raises:
            NotFound: no account serves the model, or the operation.
        """
        if not self._serving(model, operation):
            raise NotFound(self._not_served(model, operation, allowed))
        self._orders += 1
        return SlotRequest(model, operation, self._orders, is_pinned)

    def has_candidate(self, slot_request: SlotRequest) -> bool:
        """Whether an account that was not tried yet could still serve ``slot_request``, now or after a cool-down."""
        return any(not account.health.is_disabled for account in self._candidates(slot_request))

    def acquire_nowait(self, slot_request: SlotRequest) -> Lease | None:
        """A lease if a slot is free and nobody waits; enter it at once. None: ``acquire``."""
        account = None if self._waiters else self._best(slot_request)
        if account is None:
            return None
        self._entered += 1
        self._granted += 1
        self._reserve(account)
        return Lease(self, account)

    async def acquire(self, slot_request: SlotRequest) -> Lease:
        """Wait until a slot is reserved for ``slot_request``; enter the lease at once.

        Raises:
            NoUsableAccount: every account left is out of rotation for longer than the caller's deadline.
            QueueFull: as many requests wait as may.

        Cancelled here: atomic. The place in the queue is gone, a slot that was just reserved goes to the next waiter.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_reachable(slot_request)
        self._entered += 1
        waiter = _Waiter(slot_request)
        insort(self._waiters, waiter)
        try:
            self._dispatch()
            if waiter.account is None and len(self._waiters) > self.max_waiting:
                raise QueueFull(f"{self.max_waiting} requests are waiting for a slot already")
            while waiter.account is None:
                with waiter.timer:
                    await waiter.awake.wait()
                if waiter.account is None:  # a cool-down ended, or _dispatch saw no account that could ever serve it
                    self._check_reachable(slot_request)
                    waiter.awake, waiter.timer = trio.Event(), trio.CancelScope()
                    self._dispatch()
        except BaseException:
            self._left += 1
            self._forget(waiter)
            raise
        self._granted += 1
        return Lease(self, waiter.account)

    # --- what others report and see -------------------------------------------------------------------------------

    def capacity_changed(self) -> None:
        """The capacity of an account was raised or lowered: those who wait may get what became free."""
        self._dispatch()

    def statistics(self) -> AdmissionStatistics:
        waiting = len(self._waiters) + self._slots.total_reserved()  # woken, and not run since, is still waiting
        return AdmissionStatistics(waiting, self._entered, self._granted, self._left)

    # --- the one place that hands out slots -----------------------------------------------------------------------

    def _accounts_changed(self) -> None:
        self._by_model.clear()
        self._policy.keep({account.name for account in self._pool.accounts})
        self._dispatch()

    def _dispatch(self) -> None:
        """Reserve free slots for waiters, in order. Cheap when nobody waits, and when nothing is free."""
        starved: set[tuple[object, ...]] = set()  # what found no slot in this round; reserving only makes it scarcer
        for waiter in tuple(self._waiters):
            slot_request = waiter.slot_request
            kind = (slot_request.model, slot_request.operation, slot_request.is_pinned, frozenset(slot_request.tried))
            if kind in starved:
                continue
            account = self._best(slot_request)
            if account is not None:
                self._reserve(account)
                self._waiters.remove(waiter)
                waiter.account = account
                waiter.awake.set()
            elif self.has_candidate(slot_request):
                starved.add(kind)
            else:
                waiter.awake.set()  # its own task raises the error
        if self._waiters:
            self._waiters[0].timer.deadline = self._next_change()  # one timekeeper is enough

    def _reserve(self, account: Account) -> None:
        is_reserved = self._slots.reserve_nowait(account.name)
        assert is_reserved, "the slot that was chosen is not free"

    def _take(self, account: Account) -> None:
        self._slots.take(account.name)
        self._policy.used(account)

    def _give_back(self, account: Account) -> None:
        self._slots.give_back(account.name)
        self._pool.lease_ended(account.name)
        self._dispatch()

    def _forget(self, waiter: _Waiter) -> None:
        if waiter.account is not None:
            self._slots.cancel_reservation(waiter.account.name)
            self._pool.lease_ended(waiter.account.name)
            waiter.account = None
        else:
            self._waiters.remove(waiter)
        self._dispatch()

    # --- which models there are -----------------------------------------------------------------------------------

    def _not_served(self, model: str | None, operation: str | None, allowed: Sequence[str]) -> str:
        """The message for a client that requested what no account serves; ``model`` and ``operation`` are names that it
        sent itself."""
        if model is None:
            return f"no account of this relay serves {operation}"
        served = (account.patterns(operation) for account in self._pool.accounts) if operation else ()
        names = list(dict.fromkeys(name for patterns in served for name in common(patterns, allowed)))
        shown = ", ".join(names[:_LISTED_NAMES]) or "none"
        rest = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
        listed = f"models served to this key: {shown}{rest}"
        if operation and any(account.offers(model) for account in self._pool.accounts):
            return f'the model "{model}" is served here, but not for {operation}; {listed}'
        return f'no account of this relay serves the model "{model}"; {listed}'

    # --- which accounts can be used -------------------------------------------------------------------------------

    def _serving(self, model: str | None, operation: str | None) -> tuple[Account, ...]:
        accounts = self._by_model.get((model, operation))
        if accounts is None:
            accounts = tuple(account for account in self._pool.accounts if account.serves(model, operation))
            if len(self._by_model) >= _PATTERN_CACHE_SIZE:
                self._by_model.clear()
            self._by_model[model, operation] = accounts
        return accounts

    def _candidates(self, slot_request: SlotRequest) -> list[Account]:
        accounts = self._serving(slot_request.model, slot_request.operation)
        if slot_request.is_pinned:
            accounts = accounts[:1]
        return [account for account in accounts if account.health not in slot_request.tried]

    def _available_at(self, candidates: list[Account]) -> list[tuple[float, Account]]:
        """When each candidate may be used. If no candidate is available now, ejections (our guess) are ignored;
        cool-downs are not."""
        times = [(account.health.available_at(), account) for account in candidates]
        if any(time <= trio.current_time() for time, _ in times):
            return times
        return [(account.health.available_at(waive_ejection=True), account) for account in candidates]

    def _best(self, slot_request: SlotRequest) -> Account | None:
        """The account to use now; None where no slot is free that could serve ``slot_request``."""
        now, slots = trio.current_time(), self._slots
        return self._policy.choose(
            (account, held)
            for time, account in self._available_at(self._candidates(slot_request))
            if time <= now and (held := slots.held(account.name)) < slots.capacity(account.name)
        )

    def _check_reachable(self, slot_request: SlotRequest) -> None:
        """Check that waiting until the caller's deadline can help.

        Raises:
            NoUsableAccount: it cannot; NoAccountInRotation where time alone does not help.
        """
        times = [time for time, _ in self._available_at(self._candidates(slot_request))]
        soonest = min(times, default=math.inf)
        if soonest == math.inf:
            raise NoAccountInRotation("no account that serves this model is in rotation")
        if soonest > trio.current_effective_deadline():
            wait = soonest - trio.current_time()
            raise NoUsableAccount("every account that serves this model is cooling down", retry_after=wait)

    def _next_change(self) -> float:
        """When a cool-down or an ejection ends next: a change that no task announces."""
        now = trio.current_time()
        return min(
            (time for account in self._pool.accounts for time in _changes(account) if time > now),
            default=math.inf,
        )


def _changes(account: Account) -> tuple[float, float]:
    return account.health.available_at(), account.health.available_at(waive_ejection=True)
