"""How many requests may be trying a further account at once.

Without a bound, accounts that all fail would get ``max_attempts`` times the requests of the clients, at the very moment
when they can bear it least.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.settings import RetrySettings


class RetryBudget:
    """Counts the requests that are beyond their first attempt."""

    def __init__(self) -> None:
        self.in_use = 0
        """Requests that hold a place now."""

    @contextmanager
    def place(self, retry: RetrySettings, live: int) -> Iterator[bool]:
        """Hold a place for the block, if there is one: ``budget_ratio`` of the ``live`` requests may hold one, and
        ``budget_min_concurrent`` in any case.

        Yields whether there was one.
        """
        if self.in_use >= max(retry.budget_min_concurrent, int(retry.budget_ratio * live)):
            yield False
            return
        self.in_use += 1
        try:
            yield True
        finally:
            self.in_use -= 1
