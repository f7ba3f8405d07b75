"""Which of the accounts that have a free slot is used next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from relay_trio.pool.account import Account


class LeastLoaded:
    """The account with the least slots held for its ``weight``, of the lowest ``priority``; ties go round."""

    def __init__(self) -> None:
        self._uses = 0
        self._last_used: dict[str, int] = {}

    def choose(self, free: Iterable[tuple[Account, int]]) -> Account | None:
        """The best of the accounts that have a free slot, each with the slots that are held of it; None of none."""
        best: Account | None = None
        best_rank: tuple[int, float, int] | None = None
        for account, held in free:
            settings = account.settings
            rank = (settings.priority, (held + 1) / settings.weight, self._last_used.get(settings.name, 0))
            if best_rank is None or rank < best_rank:
                best, best_rank = account, rank
        return best

    def keep(self, names: Container[str]) -> None:
        """Forget the accounts of all other names."""
        self._last_used = {name: use for name, use in self._last_used.items() if name in names}

    def used(self, account: Account) -> None:
        """A slot of ``account`` was taken."""
        self._uses += 1
        self._last_used[account.name] = self._uses
