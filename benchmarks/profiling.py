"""``--profile``: where the relay's own time goes, on the chunk path and on the request path, in each dialect.

With py-spy if it is there (it samples from outside and distorts nothing), else under cProfile, which makes small
functions look bigger than they are. What is printed is self time by function, the "what is left" of the README's table.
"""

from __future__ import annotations

import os
import pstats
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cells import CELLS, DIALECT_CELLS, measure
from benchmarks.systems.base import BENCH_CORE, Variant
from benchmarks.systems.relay import RelayTrio

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_PROFILED = ("paced", "requests-1k")
_SAMPLES_PER_SECOND = 500
_LINES = 25


class _UnderCProfile(RelayTrio):
    name = "relay"

    def command(self, configuration: Path) -> list[str | Path]:
        plain = super().command(configuration)
        return [plain[0], "-m", "cProfile", "-o", configuration.parent / "profile", *plain[1:]]


def profile(bench: Bench, work: Path) -> str:
    """The profiles as text."""
    spy = _py_spy()
    parts = []
    plain = [cell for cell in CELLS if cell.name in _PROFILED and not cell.tls]
    for cell in (*plain, *(cell for cell in DIALECT_CELLS if cell.dialect != "claude")):
        system = RelayTrio(work) if spy else _UnderCProfile(work)
        running = system.start(bench.upstream_port, Variant(has_all_dialects=cell.dialect != "claude"))
        out = running.directory / "profile"
        recording = _record(spy, running.pid, out, cell.seconds + 4) if spy else None
        try:
            row = measure(cell, bench, running, share=1.0)
        finally:
            if recording is not None:
                recording.send_signal(signal.SIGINT)
                recording.wait(60)
            running.stop()
        figure = {key: value for key, value in row.items() if key.startswith("us_per")}
        parts.append(f"== {cell.name}, {cell.dialect} ({'py-spy' if spy else 'cProfile'}), while profiled: {figure}")
        parts.append(_from_samples(out) if spy else _from_cprofile(out))
    return "\n".join(parts)


def _py_spy() -> str | None:
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")


def _record(spy: str, pid: int, out: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [spy, "record", "--pid", str(pid), "--format", "raw", "--output", str(out), "--nonblocking"]
    command += ["--rate", str(_SAMPLES_PER_SECOND), "--duration", str(int(seconds))]
    recording = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {BENCH_CORE}),
    )
    time.sleep(0.5)
    return recording


def _from_samples(out: Path) -> str:
    """Self and inclusive share by function, from collapsed stacks."""
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_function(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    total = sum(own.values()) or 1
    lines = [f"{total} samples", " self %   incl %  function"]
    lines += [f"{100 * n / total:6.1f} {100 * inclusive[f] / total:8.1f}  {f}" for f, n in own.most_common(_LINES)]
    return "\n".join(lines)


def _function(frame: str) -> str:
    """``name (path/to/file.py:12)`` → ``name (to/file.py)``: a function, wherever in it the sample fell."""
    name, _, place = frame.partition(" (")
    path = place.rstrip(")").rpartition(":")[0]
    return f"{name} ({'/'.join(Path(path).parts[-2:])})" if path else frame


def _from_cprofile(out: Path) -> str:
    stats = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in stats.values()) or 1
    ordered = sorted(stats.items(), key=lambda item: -item[1][2])[:_LINES]
    lines = [f"{total:.2f} s", " self %    calls  function"]
    for (path, _, name), (_, calls, own, _, _) in ordered:
        lines.append(f"{100 * own / total:6.1f} {calls:8}  {name} ({'/'.join(Path(path).parts[-2:])})")
    return "\n".join(lines)
