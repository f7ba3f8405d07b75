"""Slots in use, per account, in this process: the one place that changes them.

Both verbs are synchronous, so no checkpoint can fall between the check and the count.
"""

from __future__ import annotations


class SlotTable:
    """How many slots of each account are in use."""

    def __init__(self) -> None:
        self._in_use: dict[str, int] = {}

    def in_use(self, account: str) -> int:
        """Slots of ``account`` that are held now."""
        return self._in_use.get(account, 0)

    def total(self) -> int:
        """Slots held now, all accounts together."""
        return sum(self._in_use.values())

    def take_nowait(self, account: str, limit: int) -> bool:
        """Take a slot if fewer than ``limit`` are held; tell whether it was taken."""
        held = self._in_use.get(account, 0)
        if held >= limit:
            return False
        self._in_use[account] = held + 1
        return True

    def give_back(self, account: str) -> None:
        """Give one slot back."""
        held = self._in_use[account]
        assert held > 0, f"a slot of {account} was given back twice"
        self._in_use[account] = held - 1
