"""The disconnect benchmark: the same storm of hang-ups against each system, one scenario at a time.

A hundred clients, 25 a second, which no system here is too slow for; each hangs up at the same moment of its own
request's life. What counts is seen from both ends only: the client's clock when it left, the upstream's clock when it
saw the connection close, and what the upstream had sent by then. No system's own opinion counts, except
the relay's of its slots.

Limits: loopback, so no packet is lost and a close is one FIN; the upstream stops at a close, while real providers may
go on and bill; one worker each; no HTTP/2. A half-close is a hang-up here because all of these treat it so or not at
all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.bench import settle
from benchmarks.closes import match_closes
from benchmarks.order import Order
from benchmarks.systems import relay
from benchmarks.systems.base import Variant

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.systems.base import Running

STALL_SECONDS = 3
"""The limit for a client that stops reading, for the systems that have one; their defaults are 30 and 60."""
QUEUE_SLOTS = 4

_NEVER_MS = 600_000
_ENDLESS = 10**9


@dataclass(frozen=True, slots=True)
class Storm:
    """One scenario. ``after_seconds``: how long after a hang-up is looked whether the upstream stream still lives."""

    name: str
    order: Order
    how: str = "close"
    leave_events: int = 0
    leave_ms: int = 0
    clients: int = 100
    after_seconds: float = 5.0
    blockers: int = 0
    receive_buffer: int = 0

    @property
    def needs_queue(self) -> bool:
        return self.blockers > 0

    @property
    def variant(self) -> Variant:
        return Variant(slots=QUEUE_SLOTS if self.needs_queue else 8000, stall_seconds=STALL_SECONDS)


_STREAMING = Order(deltas=_ENDLESS, gap_us=20_000, logged=1)

STORMS = (
    Storm("queued", _STREAMING, leave_ms=500, blockers=QUEUE_SLOTS),
    Storm("before the head", Order(deltas=_ENDLESS, head=_NEVER_MS, logged=1), leave_ms=500),
    Storm("before the first event", Order(deltas=_ENDLESS, first=_NEVER_MS, logged=1), leave_ms=500),
    Storm("mid-stream", _STREAMING, leave_events=20),
    Storm(
        "after the terminal event",
        Order(deltas=20, gap_us=20_000, hold=_NEVER_MS, logged=1),
        leave_events=25,
    ),
    Storm("half-close", _STREAMING, how="half", leave_events=20),
    Storm(
        "stalled reader",
        Order(deltas=_ENDLESS, gap_us=10_000, size=16_000, logged=1),
        how="stall",
        leave_events=5,
        clients=20,
        after_seconds=12.0,
        receive_buffer=4096,
    ),
)


def strike(storm: Storm, bench: Bench, running: Running, share: float) -> dict[str, Any]:
    """One raw row, with every latency of it; ``share`` of the storm's clients, and ten at least."""
    held_before = bench.held_sockets(running, bench.log())
    began = time.time()
    clients = max(10, round(storm.clients * share))
    result = bench.run(
        running,
        "leave",
        storm.order,
        clients,
        ramp=clients / 25,
        leave_how=storm.how,
        leave_events=storm.leave_events,
        leave_ms=storm.leave_ms,
        blockers=storm.blockers,
        receive_buffer=storm.receive_buffer,
        wait_after=storm.after_seconds,
        wants_memory=True,
    )
    # The generator is gone, and with it every client socket: what is held now is held for nobody.
    settle(1.0)
    log = bench.log()
    closes = match_closes(result["left"], log, storm.after_seconds)
    row: dict[str, Any] = {
        "cell": storm.name,
        "system": running.name,
        **closes.figures(),
        "latencies_ms": closes.latencies_ms,
        "leaked_sockets": max(0, bench.held_sockets(running, log) - held_before),
        "grown_kib": result["memory_after_kib"] - result["memory_before_kib"],
        "all_left": result["all_left"],
        "failed": result["failed"],
    }
    if running.name == "relay":
        inside = relay.invariants(running)
        row["leaked_slots"] = sum(account["slots"] for account in inside["accounts"].values())
        row["still_waiting"] = inside["queue"]["waiting"]
        row["invariants_hold"] = inside["ok"]
        row["ledger"] = relay.outcomes(running, began)
    bench.reset()
    settle()
    return row
