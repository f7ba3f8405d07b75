"""The performance cells: what the generator has to do, and the one or two figures made of its answer.

Chunk means event: each is one ``send`` of the upstream, about 120 bytes. The pace of 50 a second for each stream is
that of a fast model. Figures are of the proxy's process tree on its one core.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.bench import settle
from benchmarks.closes import match_closes, percentile
from benchmarks.dialects import DIALECTS
from benchmarks.order import Order
from benchmarks.systems import relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench
    from benchmarks.systems.base import Running

_PACE = 50
_GAP_US = 1_000_000 // _PACE
_ENDLESS = 10**9
_CLOSE_LIMIT_SECONDS = 3.0
_HOUR_US = 3_600_000_000
_WARM_CONNECTIONS = 400


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of load. ``seconds`` is the window; ``only`` names the systems it makes sense for.

    ``dialect``: what its clients speak."""

    name: str
    run: Callable[[Bench, Running, float], dict[str, Any]]
    seconds: float
    tls: bool = False
    only: tuple[str, ...] = field(default=())
    dialect: str = "claude"


def _paced(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
    order = Order(deltas=int(_PACE * (seconds + 3)), gap_us=_GAP_US)
    result = bench.run(running, "hold", order, 40, window=seconds, ramp=1.0, settle=0.5)
    return result | {"us_per_chunk": _micros(result, "window_events")}


def _requests(body_bytes: int) -> Callable[[Bench, Running, float], dict[str, Any]]:
    def run(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
        order = Order(stream=0)
        result = bench.run(running, "loop", order, 8, window=seconds, body_bytes=body_bytes)
        return result | {"us_per_request": _micros(result, "window_requests")}

    return run


def _first_byte(clients: int, deltas: int, gap_us: int) -> Callable[[Bench, Running, float], dict[str, Any]]:
    def run(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
        order = Order(deltas=deltas, gap_us=gap_us)
        ramp = deltas * gap_us / 1e6  # streams start evenly spread over the life of one
        result = bench.run(running, "loop", order, clients, window=seconds, ramp=ramp)
        first_ms = [answer[1] / 1e6 for answer in result["answers"]]
        shares = {"p50_ms": percentile(first_ms, 0.5), "p99_ms": percentile(first_ms, 0.99), "samples": len(first_ms)}
        return result | shares | {"chunks_per_s": round(result["window_events"] / result["wall_seconds"])}

    return run


def _saturation(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
    order = Order(deltas=_ENDLESS, seconds=int(seconds + 4))
    result = bench.run(running, "hold", order, 50, window=seconds, ramp=0.5, settle=1.0)
    return result | {"chunks_per_s": round(result["window_events"] / result["wall_seconds"])}


def _memory(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
    order = Order(deltas=_ENDLESS, gap_us=1_000_000)
    result = bench.run(
        running,
        "hold",
        order,
        1000,
        window=seconds,
        ramp=5.0,
        settle=1.0,
        wants_memory=True,
        leave_how="close",
        leave_spread=1.0,
        wait_after=1.0,
    )
    grown = result.pop("memory_after_kib") - result.pop("memory_before_kib")
    return result | {"kib_per_stream": round(grown / 1000, 1)}


def _close(gap_us: int) -> Callable[[Bench, Running, float], dict[str, Any]]:
    def run(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
        order = Order(deltas=_ENDLESS, gap_us=gap_us)
        result = bench.run(
            running,
            "hold",
            order,
            200,
            window=0.5,
            ramp=4.0,
            leave_how="close",
            leave_spread=seconds,
            wait_after=_CLOSE_LIMIT_SECONDS,
        )
        closes = match_closes(result["left"], bench.log(), _CLOSE_LIMIT_SECONDS)
        return result | closes.figures()

    return run


def _pool(connections: int) -> Callable[[Bench, Running, float], dict[str, Any]]:
    def run(bench: Bench, running: Running, seconds: float) -> dict[str, Any]:
        if connections > 1:
            bench.run(running, "hold", Order(deltas=60, gap_us=100_000), connections, window=0.1, ramp=2.0)
        idle = relay.invariants(running)["upstream"]["idle_connections"]
        result = bench.run(running, "loop", Order(stream=0), 1, window=seconds)
        return result | {"us_per_request": _micros(result, "window_requests"), "idle_connections": idle}

    return run


def _micros(result: dict[str, Any], unit: str) -> float | None:
    count = result[unit]
    return round(result["proxy_cpu_seconds"] * 1e6 / count, 1) if count else None


CELLS = (
    # A process is fresh at the start of a round, and these two need it to be.
    Cell("pool-1", _pool(1), 4, only=("relay",)),
    Cell("memory", _memory, 2),
    Cell("paced", _paced, 10),
    Cell("requests-1k", _requests(1024), 5),
    Cell("requests-100k", _requests(100 * 1024), 5),
    Cell("ttfb-1", _first_byte(1, 2, 10_000), 5),
    Cell("ttfb-50", _first_byte(50, 100, _GAP_US), 6),
    Cell("ttfb-200", _first_byte(200, 100, _GAP_US), 8),
    Cell("ttfb-200-calm", _first_byte(200, 40, 50_000), 8),
    Cell("saturation", _saturation, 4),
    Cell("close-streaming", _close(100_000), 2),
    Cell("close-silent", _close(_HOUR_US), 2),
    Cell("pool-400", _pool(_WARM_CONNECTIONS), 4, only=("relay",)),
    Cell("paced", _paced, 10, tls=True),
    Cell("requests-1k", _requests(1024), 5, tls=True),
    Cell("requests-100k", _requests(100 * 1024), 5, tls=True),
    Cell("ttfb-50", _first_byte(50, 100, _GAP_US), 6, tls=True),
)

DIALECT_CELLS = tuple(
    Cell(name, run, seconds, dialect=dialect)
    for name, run, seconds in (("paced", _paced, 10), ("requests-1k", _requests(1024), 5))
    for dialect in DIALECTS
)
"""For systems that speak all of them; one dialect after the other, so that a noisy minute hits all alike."""


def measure(cell: Cell, bench: Bench, running: Running, share: float) -> dict[str, Any]:
    """One raw row; the window is ``share`` of the cell's own, and a second at least.

    What nobody reads again (each answer, each hang-up) is dropped; counts and shares stay."""
    bench.log()
    began = time.time()
    row = cell.run(bench, running.speaking(cell.dialect), max(1.0, cell.seconds * share))
    for bulk in ("answers", "left", "from_ns", "to_ns", "last_id"):
        row.pop(bulk, None)
    settle()
    if running.name == "relay":
        row["ledger"] = relay.outcomes(running, began)
    bench.reset()
    settle()
    return {"cell": cell.name, "system": running.name, "tls": cell.tls, "dialect": cell.dialect, **row}
