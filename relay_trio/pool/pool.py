"""The accounts of a relay: the one owner of which there are, while requests run.

::

    add ──► accounts ── replace ──► accounts      new leases are of the new one, old leases end with the old one
               └── retire ──► retiring ──► gone   no new leases; gone with its last one

An account is known by its name, also in the counts of its slots: an account that comes under a name whose leases still
live shares its slots with them, also where it is another upstream. So no name is granted more than ``max_concurrency``
slots, and another upstream has all of them to itself once the leases of before have ended.

What is known of an account is its ``health``, which one account takes over from another only if it is the same upstream
with the same credential. So by their health two accounts of one name are told apart: in what a request has tried, and
in what is announced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay_trio.pool.account import Account
    from relay_trio.pool.slots import SlotTable


class Pool:
    """The accounts, in the order of the configuration."""

    def __init__(self, accounts: Sequence[Account], slots: SlotTable) -> None:
        self.slots = slots
        self._accounts: dict[str, Account] = {}
        self._retiring: dict[str, Account] = {}
        self._on_change: Callable[[], None] | None = None
        self.adopt(accounts)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that take new leases, as far as their health lets them."""
        return tuple(self._accounts.values())

    @property
    def retiring(self) -> tuple[Account, ...]:
        """The accounts that take none any more, and still have some."""
        return tuple(self._retiring.values())

    def has(self, account: Account) -> bool:
        """Whether what happens at ``account`` says something of an account that takes new leases: of itself, or of one
        that took its place with the same upstream and credential."""
        current = self._accounts.get(account.name)
        return current is not None and current.health is account.health

    def can_ever_serve(self) -> bool:
        """Whether any account is in rotation or will be."""
        return any(not account.health.is_disabled for account in self._accounts.values())

    def on_change(self, on_change: Callable[[], None]) -> None:
        """Call ``on_change`` after each change of the accounts."""
        self._on_change = on_change

    def add(self, account: Account) -> None:
        """Let ``account`` take leases; it comes last in the order.

        Raises:
            ValueError: there is one of its name; ``replace`` it.
        """
        if account.name in self._accounts:
            raise ValueError(f"there is an account {account.name!r} already")
        self._put(account)
        self._changed()

    def replace(self, account: Account) -> None:
        """Let ``account`` take the leases of the one that has its name now. It keeps the place in the order, the counts
        of its slots, and the health if it is the same upstream with the same credential.

        Raises:
            ValueError: there is none of its name; ``add`` it.
        """
        if account.name not in self._accounts:
            raise ValueError(f"there is no account {account.name!r}")
        self._put(account)
        self._changed()

    def retire(self, name: str) -> None:
        """Let the account take no new lease. Those that it has end as they would; then it is gone.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in self._accounts:
            raise ValueError(f"there is no account {name!r}")
        self._let_go(name)
        self._changed()

    def adopt(self, accounts: Sequence[Account]) -> None:
        """Let these be the accounts, in this order: whatever differs is added, replaced or retired, all at once."""
        names = {account.name for account in accounts}
        for name in self._accounts.keys() - names:
            self._let_go(name)
        for account in accounts:
            self._put(account)
        self._accounts = {account.name: account for account in accounts}
        self._changed()

    def lease_ended(self, name: str) -> None:
        """A slot of this account is free again: the last one of a retired account lets it go."""
        if name in self._retiring and not self.slots.held(name):
            del self._retiring[name]
            self.slots.forget(name)

    def _put(self, account: Account) -> None:
        former = self._accounts.get(account.name) or self._retiring.pop(account.name, None)
        if former is not None:
            account.continue_from(former)
        self._accounts[account.name] = account
        self.slots.set_capacity(account.name, account.settings.max_concurrency)

    def _let_go(self, name: str) -> None:
        self._retiring[name] = self._accounts.pop(name)
        self.lease_ended(name)

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()
