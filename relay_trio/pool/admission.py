"""Who gets a slot next: selection among accounts, the queue in front of them, and the slot itself.

::

    acquire ──free slot──────────────────────────► Lease ── `with turn:` ── the slot is held ── given back
        └─ Waiter in the queue ── dispatch() reserves ──┘                          └── dispatch() ──► next waiter

One synchronous function, ``_dispatch``, hands out free slots, first come first served among the requests that an
account can serve. It runs when something changed: a slot came back, a waiter left, a cool-down ended. Nothing polls.

A slot that is handed to a waiter is *reserved* until that waiter's task runs again and enters its turn; only then is
it in use. So at every scheduler step the slots in use are exactly the attempts that live, and a waiter that was
cancelled in that very moment gives its reservation to the next one instead of taking it along.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import NotFound, NoUsableAccount, QueueFull

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from relay_trio.pool.account import Account
    from relay_trio.pool.slots import SlotTable

_PATTERN_CACHE_SIZE = 1024
"""Model names whose accounts are remembered. Clients choose the names, so the memory of them has a bound."""


@dataclass(slots=True)
class SlotRequest:
    """What one request asks of the pool.

    ``order`` is its place in the line, kept over all its attempts; ``tried`` names the accounts that failed it.
    ``is_pinned``: the request is about something that lives in one account (a batch), so it always goes to the same.
    """

    model: str | None
    operation: str | None
    order: int
    is_pinned: bool = False
    tried: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """``entered == granted + left + waiting`` at all times."""

    waiting: int
    entered: int
    granted: int
    left: int


class _Waiter:
    __slots__ = ("account", "awake", "timer", "want")

    def __init__(self, want: SlotRequest) -> None:
        self.want = want
        self.awake = trio.Event()
        self.timer = trio.CancelScope()
        self.account: Account | None = None  # set by _dispatch: a slot of it is reserved for this waiter

    def __lt__(self, other: _Waiter) -> bool:
        return self.want.order < other.want.order


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
    """The pool's door."""

    def __init__(self, accounts: Sequence[Account], slots: SlotTable, *, max_waiting: int) -> None:
        self.accounts = tuple(accounts)
        self._slots = slots
        self.max_waiting = max_waiting
        self._waiters: list[_Waiter] = []
        self._reserved: dict[str, int] = dict.fromkeys((account.name for account in accounts), 0)
        self._last_used: dict[str, int] = dict.fromkeys(self._reserved, 0)
        self._uses = 0
        self._orders = 0
        self._entered = self._granted = self._left = 0
        self._by_model: dict[tuple[str | None, str | None], tuple[Account, ...]] = {}

    # --- what a request does --------------------------------------------------------------------------------------

    def new_request(self, model: str | None, operation: str | None = None, *, is_pinned: bool = False) -> SlotRequest:
        """A place in the line.

        Raises:
            NotFound: no account serves the model, or the operation.
        """
        if not self._serving(model, operation):
            raise NotFound(
                f"no account of this relay serves the model {model!r}" if model else "no account serves this"
            )
        self._orders += 1
        return SlotRequest(model, operation, self._orders, is_pinned)

    def serves(self, model: str, operation: str) -> bool:
        """Whether any account could be asked, now or later."""
        return bool(self._serving(model, operation))

    def acquire_nowait(self, want: SlotRequest) -> Lease | None:
        """A reserved slot if one is free and nobody waits; enter the turn at once. None: ``acquire``."""
        account = None if self._waiters else self._best(want)
        if account is None:
            return None
        self._entered += 1
        self._granted += 1
        self._reserved[account.name] += 1
        return Lease(self, account)

    async def acquire(self, want: SlotRequest) -> Lease:
        """Wait until a slot is reserved for ``want``; enter the turn at once.

        Raises:
            NoUsableAccount: every account left is out of rotation for longer than the caller's deadline.
            QueueFull: as many requests wait as may.

        Cancelled here: atomic. The place in the line is gone, a slot that was just reserved goes to the next waiter.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._require_hope(want)
        self._entered += 1
        waiter = _Waiter(want)
        insort(self._waiters, waiter)
        try:
            self._dispatch()
            if waiter.account is None and len(self._waiters) > self.max_waiting:
                raise QueueFull(f"{self.max_waiting} requests are waiting for a slot already")
            while waiter.account is None:
                with waiter.timer:
                    await waiter.awake.wait()
                if waiter.account is None:  # the timer: a cool-down ended; or _dispatch saw that there is no hope left
                    self._require_hope(want)
                    waiter.timer = trio.CancelScope()
                    self._dispatch()
        except BaseException:
            self._left += 1
            self._forget(waiter)
            raise
        self._granted += 1
        return Lease(self, waiter.account)

    # --- what an operator sees ------------------------------------------------------------------------------------

    def in_use(self, account: Account) -> int:
        """Slots of ``account`` held now."""
        return self._slots.in_use(account.name)

    def can_ever_serve(self) -> bool:
        """Whether any account is in rotation or will be."""
        return any(not account.health.is_disabled for account in self.accounts)

    def has_candidate(self, want: SlotRequest) -> bool:
        """Whether an account that was not tried yet could still serve ``want``, now or after a cool-down."""
        return any(not account.health.is_disabled for account in self._candidates(want))

    def statistics(self) -> AdmissionStatistics:
        waiting = len(self._waiters) + sum(self._reserved.values())  # woken, and not run since, is still waiting
        return AdmissionStatistics(waiting, self._entered, self._granted, self._left)

    # --- the one owner of every count -----------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Reserve free slots for waiters, in order. Cheap when nobody waits, and when nothing is free."""
        in_vain: set[tuple[object, ...]] = set()  # what found no slot in this round; reserving only makes it scarcer
        for waiter in tuple(self._waiters):
            want = waiter.want
            kind = (want.model, want.operation, want.is_pinned, *sorted(want.tried))
            if kind in in_vain:
                continue
            account = self._best(want)
            if account is not None:
                self._reserved[account.name] += 1
                self._waiters.remove(waiter)
                waiter.account = account
                waiter.awake.set()
            elif self.has_candidate(want):
                in_vain.add(kind)
            else:
                waiter.awake.set()  # to find that out by itself
        if self._waiters:
            self._waiters[0].timer.deadline = self._next_change()  # one timekeeper is enough

    def _take(self, account: Account) -> None:
        self._reserved[account.name] -= 1
        taken = self._slots.take_nowait(account.name, account.settings.max_concurrency)
        assert taken, "a reserved slot was gone"
        self._uses += 1
        self._last_used[account.name] = self._uses

    def _give_back(self, account: Account) -> None:
        self._slots.give_back(account.name)
        self._dispatch()

    def _forget(self, waiter: _Waiter) -> None:
        if waiter.account is not None:
            self._reserved[waiter.account.name] -= 1
            waiter.account = None
        else:
            self._waiters.remove(waiter)
        self._dispatch()

    # --- selection ------------------------------------------------------------------------------------------------

    def _serving(self, model: str | None, operation: str | None) -> tuple[Account, ...]:
        accounts = self._by_model.get((model, operation))
        if accounts is None:
            accounts = tuple(account for account in self.accounts if account.serves(model, operation))
            if len(self._by_model) >= _PATTERN_CACHE_SIZE:
                self._by_model.clear()
            self._by_model[model, operation] = accounts
        return accounts

    def _candidates(self, want: SlotRequest) -> list[Account]:
        accounts = self._serving(want.model, want.operation)
        if want.is_pinned:
            accounts = accounts[:1]
        return [account for account in accounts if account.name not in want.tried]

    def _available_at(self, candidates: list[Account]) -> list[tuple[float, Account]]:
        """When each candidate may be used. The last ones standing are never kept out by our own guess."""
        times = [(account.health.available_at(), account) for account in candidates]
        if any(time <= trio.current_time() for time, _ in times):
            return times
        return [(account.health.available_at(waive_ejection=True), account) for account in candidates]

    def _best(self, want: SlotRequest) -> Account | None:
        """The least loaded account with a free slot, of the lowest ``priority`` that has one; ties go round."""
        now = trio.current_time()
        best: Account | None = None
        best_rank: tuple[float, float, int] | None = None
        for time, account in self._available_at(self._candidates(want)):
            held = self._slots.in_use(account.name) + self._reserved[account.name]
            if time > now or held >= account.settings.max_concurrency:
                continue
            load = (held + 1) / account.settings.weight
            rank = (account.settings.priority, load, self._last_used[account.name])
            if best_rank is None or rank < best_rank:
                best, best_rank = account, rank
        return best

    def _require_hope(self, want: SlotRequest) -> None:
        """
        Raises:
            NoUsableAccount: waiting until the caller's deadline cannot help.
        """
        times = [time for time, _ in self._available_at(self._candidates(want))]
        soonest = min(times, default=math.inf)
        if soonest == math.inf:
            raise NoUsableAccount("no account that serves this model is in rotation")
        if soonest > trio.current_effective_deadline():
            wait = soonest - trio.current_time()
            raise NoUsableAccount("every account that serves this model is cooling down", retry_after=wait)

    def _next_change(self) -> float:
        """When a cool-down or an ejection ends next: a change that no task announces."""
        now = trio.current_time()
        return min(
            (time for account in self.accounts for time in _changes(account) if time > now),
            default=math.inf,
        )


def _changes(account: Account) -> tuple[float, float]:
    return account.health.available_at(), account.health.available_at(waive_ejection=True)
