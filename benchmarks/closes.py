"""From the clients' hang-ups and the upstream's log: how long each upstream stream lived on, and what it cost.

Both sides stamp with the same monotonic clock of one machine, so a difference is a duration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def percentile(values: list[float], share: float) -> float | None:
    """The nearest-rank percentile, None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Closes:
    """``latencies_ms`` of streams that were closed within the limit; ``still_open`` are those that were not.

    ``reached`` counts hang-ups whose request the upstream ever saw; ``late`` those that it first saw after the client
    had gone. ``wasted_events`` were sent within the limit after the client had gone.
    """

    left: int
    reached: int
    late: int
    still_open: int
    wasted_events: int
    latencies_ms: list[float]

    def figures(self) -> dict[str, Any]:
        return {
            "left": self.left,
            "reached": self.reached,
            "late": self.late,
            "still_open": self.still_open,
            "wasted_events": self.wasted_events,
            "p50_ms": percentile(self.latencies_ms, 0.5),
            "p99_ms": percentile(self.latencies_ms, 0.99),
        }


def match_closes(left: list[dict[str, int]], log: dict[str, Any], limit_seconds: float) -> Closes:
    """Put each hang-up beside the upstream's record of its stream.

    A stream that the upstream had ended by itself before the client left is not counted as reached.
    """
    records = {record["id"]: record for record in (*log["ended"], *log["open"])}
    limit_ns = int(limit_seconds * 1e9)
    reached = late = still_open = wasted = 0
    latencies: list[float] = []
    leavers = [one for one in left if one["left_ns"]]
    for one in leavers:
        record = records.get(one["id"])
        left_ns = one["left_ns"]
        if record is None or (record["finished"] and record["ended_ns"] <= left_ns):
            continue
        reached += 1
        late += record["asked_ns"] > left_ns
        wasted += sum(left_ns < sent_ns <= left_ns + limit_ns for sent_ns in record["times"])
        ended_ns = record["ended_ns"]
        if ended_ns is None or record["finished"] or ended_ns - left_ns > limit_ns:
            still_open += 1
        else:
            latencies.append(round(max(0, ended_ns - left_ns) / 1e6, 3))
    return Closes(len(leavers), reached, late, still_open, wasted, latencies)
