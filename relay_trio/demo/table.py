"""The demo's account table: live on a terminal, printed every few seconds elsewhere."""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from relay_trio.aligned import aligned
from relay_trio.outcome import Word
from relay_trio.pool.health import AccountState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay_trio.ledger.row import LedgerRow
    from relay_trio.pool.account import Account
    from relay_trio.relay.core import Relay

_HEADER = ("  account", "slots", "   ok", " gone", " err", "ttft p50/p95", "release p99", "state")
_GONE = (Word.CLIENT_DISCONNECT, Word.CLIENT_TIMEOUT)
_LIVE_SECONDS = 0.5
_PLAIN_SECONDS = 5.0
_SAMPLES = 1000
"""Newest requests of an account that its percentiles are of."""


@dataclass(slots=True)
class _Figures:
    ok: int = 0
    gone: int = 0
    failed: int = 0
    ttft_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    release_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))


class AccountTable:
    """Figures of the requests that ended, by account; ``settled`` takes each."""

    def __init__(self) -> None:
        self._figures: defaultdict[str, _Figures] = defaultdict(_Figures)

    def settled(self, row: LedgerRow) -> None:
        """One request ended."""
        assert row.outcome is not None
        figures = self._figures[row.account]
        if row.outcome.word is Word.COMPLETED:
            figures.ok += 1
        elif row.outcome.word in _GONE:
            figures.gone += 1
        else:
            figures.failed += 1
        if row.ttft_ms is not None:
            figures.ttft_ms.append(row.ttft_ms)
        if row.release_ms is not None:
            figures.release_ms.append(row.release_ms)

    def lines(self, core: Relay) -> list[str]:
        """The table as it stands, and a line for each account that is out of rotation."""
        accounts = core.pool.accounts
        rows = [_HEADER, *(self._account_row(account, core) for account in accounts)]
        waiting = core.admission.statistics().waiting
        rows.append(("  in queue", str(waiting), *_counts(self._figures[""]), "", "", ""))
        return [*aligned(rows, gap="  "), *(note for account in accounts for note in _notes(account))]

    def _account_row(self, account: Account, core: Relay) -> tuple[str, ...]:
        figures, slots = self._figures[account.name], core.pool.slots
        health = account.health.statistics(trio.current_time())
        return (
            f"  {account.name}",
            f"{slots.in_use(account.name)}/{slots.capacity(account.name)}",
            *_counts(figures),
            f"{_percentile(figures.ttft_ms, 0.5)}/{_percentile(figures.ttft_ms, 0.95)} ms",
            f"{_percentile(figures.release_ms, 0.99, 1)} ms",
            health.state.value,
        )


async def show(table: AccountTable, core: Relay) -> None:
    """Show the table until cancelled, and once more then. Cancelled here: atomic."""
    if sys.stdout.isatty():
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            await _repeat(lambda: live.update(Text("\n".join(table.lines(core))), refresh=True), _LIVE_SECONDS)
    else:
        await _repeat(lambda: print("\n".join(table.lines(core)), flush=True), _PLAIN_SECONDS)


async def _repeat(draw: Callable[[], None], seconds: float) -> None:
    """Cancelled here: atomic; draws once more."""
    try:
        while True:
            await trio.sleep(seconds)
            draw()
    finally:
        draw()


def _notes(account: Account) -> list[str]:
    """Why the account is out of rotation, and for how long; nothing for one that is not."""
    health = account.health.statistics(trio.current_time())
    if health.state is AccountState.READY:
        return []
    left = f", {health.available_in_seconds:.0f} s left" if health.state is AccountState.COOLING else ""
    return [f"  {account.name}: {health.reason}{left}"]


def _counts(figures: _Figures) -> tuple[str, str, str]:
    return f"{figures.ok:>5}", f"{figures.gone:>5}", f"{figures.failed:>4}"


def _percentile(values: Sequence[float], share: float, digits: int = 0) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))]:.{digits}f}"
