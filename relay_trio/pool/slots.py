"""The slots of each account in this process: how many there may be, are reserved, and are in use.

The one place that changes these counts. Every verb is synchronous, so no checkpoint can fall between a check and its
count. Accounts are known by name: what stands behind a name may be replaced while its slots are held.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Slots:
    capacity: int = 0
    reserved: int = 0
    in_use: int = 0
    ceiling: int = 0


class SlotTable:
    """How many slots each account has, and how many are held.

    A slot is *reserved* first, which is refused where none is free; what is reserved is then *taken* or cancelled, and
    what was taken is *given back*. So a capacity that is lowered takes no slot from anybody: no new one is granted
    until enough are back.
    """

    def __init__(self) -> None:
        self._slots: dict[str, _Slots] = {}

    def capacity(self, account: str) -> int:
        """Slots that may be held at one time."""
        slots = self._slots.get(account)
        return 0 if slots is None else slots.capacity

    def in_use(self, account: str) -> int:
        """Slots of ``account`` that are held now."""
        slots = self._slots.get(account)
        return 0 if slots is None else slots.in_use

    def held(self, account: str) -> int:
        """Slots of ``account`` that are in use or reserved."""
        slots = self._slots.get(account)
        return 0 if slots is None else slots.in_use + slots.reserved

    def is_within_capacity(self, account: str) -> bool:
        """False if slots held now exceed the capacity that applied when they were granted."""
        slots = self._slots.get(account)
        return slots is None or 0 <= slots.in_use + slots.reserved <= slots.ceiling

    def total_in_use(self) -> int:
        """Slots held now, all accounts together."""
        return sum(slots.in_use for slots in self._slots.values())

    def total_reserved(self) -> int:
        """Slots that are reserved and not taken yet, all accounts together."""
        return sum(slots.reserved for slots in self._slots.values())

    def set_capacity(self, account: str, capacity: int) -> None:
        """From now on at most ``capacity`` slots of ``account`` are granted. Whoever raises it lets ``Admission`` know
        (``capacity_changed``), so that those who wait hear of it."""
        slots = self._slots.setdefault(account, _Slots())
        slots.capacity = capacity
        slots.ceiling = max(capacity, slots.in_use + slots.reserved)

    def forget(self, account: str) -> None:
        """Drop an account of which nothing is held."""
        slots = self._slots.pop(account)
        assert slots.in_use == slots.reserved == 0, f"a slot of {account} is still held"

    def reserve_nowait(self, account: str) -> bool:
        """Reserve a slot if one is free; returns whether it was reserved."""
        slots = self._slots[account]
        if slots.in_use + slots.reserved >= slots.capacity:
            return False
        slots.reserved += 1
        return True

    def cancel_reservation(self, account: str) -> None:
        """A slot that was reserved is not needed."""
        slots = self._slots[account]
        assert slots.reserved > 0, f"no slot of {account} is reserved"
        slots.reserved -= 1
        slots.ceiling = max(slots.capacity, slots.in_use + slots.reserved)

    def take(self, account: str) -> None:
        """Take a slot that was reserved."""
        slots = self._slots[account]
        assert slots.reserved > 0, f"no slot of {account} is reserved"
        slots.reserved -= 1
        slots.in_use += 1

    def give_back(self, account: str) -> None:
        """Give one slot back."""
        slots = self._slots[account]
        assert slots.in_use > 0, f"a slot of {account} was given back twice"
        slots.in_use -= 1
        slots.ceiling = max(slots.capacity, slots.in_use + slots.reserved)
