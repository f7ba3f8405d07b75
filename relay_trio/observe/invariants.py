"""The promises of the relay as a snapshot: each one computed from two places that must agree.

Taken between two scheduler steps, so nothing moves while it is taken: a mismatch is a defect, not a race.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from relay_trio.observe.log import LOST_LINES
from relay_trio.relay.channel import CHANNEL_BYTES

if TYPE_CHECKING:
    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay

LARGEST_READ_BYTES = 64 * 1024
"""One socket read may overshoot a stream's limit by this much."""


def snapshot(core: Relay, ring: KeyRing) -> dict[str, object]:
    """The JSON of ``/debug/invariants``. ``ok`` only if every invariant holds at this moment."""
    attempts = core.live.attempts()
    pool = core.pool
    accounts = {
        account.name: {
            "slots": pool.slots.in_use(account.name),
            "attempts": attempts.get(account.name, 0),
            "max_concurrency": pool.slots.capacity(account.name),
            "state": account.health.statistics(trio.current_time()).state.value,
        }
        for account in (*pool.accounts, *pool.retiring)
    }
    upstream = core.client.statistics()
    held, fullest = core.live.held_bytes()
    slots = pool.slots.total_in_use()
    queue, events = core.admission.statistics(), core.events.statistics()
    ledger, keys = core.live.ledger_statistics(), ring.statistics()
    holds = {
        "I1 slots in use are the live upstream attempts": all(
            account["slots"] == account["attempts"] for account in accounts.values()
        ),
        "I2 slots stay within max_concurrency": all(pool.slots.is_within_capacity(name) for name in accounts),
        "I3 open ledger rows are the live requests": ledger.open_rows == len(core.live),
        "I5 no upstream call without an attempt, or a fetch of models": upstream.calls <= slots + core.catalog.fetches,
        "I9 no stream holds more than its limit": fullest <= CHANNEL_BYTES + LARGEST_READ_BYTES,
        "I12 nobody is lost in the queue": queue.entered == queue.granted + queue.left + queue.waiting,
    }
    return {
        "ok": all(holds.values()),
        "invariants": holds,
        "accounts": accounts,
        "requests": {"live": len(core.live), "by_phase": core.live.by_phase(), "rejected": events.rejected},
        "unpriced": events.unpriced,
        "observer_failures": events.observer_failures,
        "queue": {"waiting": queue.waiting, "entered": queue.entered, "granted": queue.granted, "left": queue.left},
        "ledger": {
            "open_rows": ledger.open_rows,
            "pending": ledger.pending,
            "written": ledger.written_total,
            "failures": ledger.failures_total,
            "last_error": ledger.last_error,
        },
        "keys": {
            "working": keys.keys,
            "reads": keys.reads_total,
            "failures": keys.failures_total,
            "is_stale": keys.is_stale,
        },
        "log": {"lost_lines": LOST_LINES.count},
        "buffered_bytes": {"total": held, "fullest_stream": fullest},
        "upstream": {
            "calls": upstream.calls,
            "open_connections": upstream.open_connections,
            "idle_connections": upstream.idle_connections,
        },
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "fds": fd_count(),
    }


def fd_count() -> int | None:
    """Open file descriptors of this process, or None where the system does not say."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
