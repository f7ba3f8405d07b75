"""Where the ledger is kept: what a store of rows has to do, whatever database it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay_trio.ledger.columns import Values
    from relay_trio.ledger.report import Grouping, Missing, UsageLine
    from relay_trio.ledger.row import LedgerRow


class LedgerStore(Protocol):
    """What the writer writes to. Blocking; one thread at a time. Every method may raise StorageError."""

    def write(self, batch: Sequence[Values]) -> None:
        """Write all of it or nothing; writing it again is harmless. A closed row is never changed again."""

    def close_lost(self, alive: Collection[str]) -> int:
        """Close the open rows of every worker that is not ``alive``, and return how many there were."""

    def booked_batches(self) -> set[str]:
        """The batches whose results are booked in a row."""

    def close(self) -> None:
        """Give up the database."""


class LedgerReport(Protocol):
    """What is read back, beside a writer. Blocking; one thread at a time. Every method may raise StorageError."""

    def usage_by(self, grouping: Grouping, since: float) -> list[UsageLine]:
        """One line for each group of requests started at ``since`` (epoch seconds) or later, by name. A request that
        runs now counts; by outcome it is ``open``."""

    def missing(self, since: float) -> Missing:
        """What the sums of requests started at ``since`` or later do not hold."""

    def last_used(self, key_ids: Iterable[str]) -> dict[str, float]:
        """When the last request of each key began, epoch seconds. A key without one is left out."""

    def rows(self) -> list[LedgerRow]:
        """Every request, oldest first."""
