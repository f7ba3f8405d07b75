"""What processes cost between two moments, from /proc: CPU, memory, sockets, and the CPU of everybody else.

A proxy is a tree of processes (nginx has a master and a worker), and is charged as a whole. The kernel's work on a
process's behalf is in its system time; work in soft interrupts is in nobody's, and shows as foreign.
"""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """``root`` and all its descendants that are alive."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        found.append(pid)
        for thread in threads:
            with contextlib.suppress(OSError):
                waiting += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of ``pids`` so far, their ended threads included."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def busy_seconds() -> float:
    """Time that all CPUs together were not idle: user, nice, system, interrupts, stolen."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / _TICK


def memory_kib(pids: list[int]) -> int:
    """Proportional set size: pages that processes share are counted once. Kernel socket buffers are not in it."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def sockets(pids: list[int]) -> int:
    """Open socket descriptors."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    total += os.readlink(entry.path).startswith("socket:")
    return total


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the counters. ``at`` is monotonic seconds, the rest CPU seconds."""

    at: float
    proxy: float
    upstream: float
    generator: float
    busy: float

    def since(self, start: Reading) -> dict[str, float]:
        """What was spent since ``start``; shares are of one core."""
        wall = self.at - start.at
        proxy, upstream = self.proxy - start.proxy, self.upstream - start.upstream
        generator = self.generator - start.generator
        foreign = max(0.0, self.busy - start.busy - proxy - upstream - generator)
        return {
            "wall_seconds": round(wall, 4),
            "proxy_cpu_seconds": round(proxy, 3),
            "proxy_share": round(proxy / wall, 3),
            "upstream_share": round(upstream / wall, 3),
            "generator_share": round(generator / wall, 3),
            "foreign_cores": round(foreign / wall, 3),
        }


def allow_many_sockets() -> None:
    """Raise this process's soft limit on descriptors to the hard one; its children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
