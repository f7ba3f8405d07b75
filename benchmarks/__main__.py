"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import Bench, open_bench
from benchmarks.meter import allow_many_sockets
from benchmarks.plot import plot_closes
from benchmarks.profiling import profile
from benchmarks.report import against_table, dialect_table, doubts, perf_table, read_rows, storm_table, target_table
from benchmarks.rounds import Rows, dialect_round, perf_round, prepare, storm_round
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import BENCH_CORE
from benchmarks.systems.relay import RelayBefore, RelayTrio

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = Path(__file__).parent.parent
_ROUNDS = {"perf": perf_round, "dialects": dialect_round, "disconnects": storm_round}
"""The parts; the rows of each are in a file of its name."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The relay beside its peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="default: %(default)s")
    parser.add_argument("--only", choices=tuple(_ROUNDS))
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="only this relay beside that of CHECKOUT")
    parser.add_argument("--cells", help="of the performance part, only those of these names, with commas between")
    parser.add_argument("--quick", action="store_true", help="one round, a fifth of each window: does it work?")
    parser.add_argument("--share", type=float, default=1.0, help="share of each window and storm. Default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    work = Path(tempfile.gettempdir()) / "relay-trio-benchmarks"
    parser.add_argument("--work", type=Path, default=work, help="where peers are installed; kept. Default: %(default)s")
    parser.add_argument("--profile", action="store_true", help="profile the relay instead")
    parser.add_argument("--report", action="store_true", help="only make the tables of the rows in --out again")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    out: Path = arguments.out
    if arguments.report:
        _write_tables(out, _ROUNDS)
        return 0
    if (os.cpu_count() or 1) < 2:
        print("needs two CPU cores: one for the proxy, one for the bench", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {BENCH_CORE})
    allow_many_sockets()
    arguments.work.mkdir(parents=True, exist_ok=True)
    with open_bench(_ROOT) as bench:
        if arguments.profile:
            print(profile(bench, arguments.work))
            return 0
        out.mkdir(parents=True, exist_ok=True)
        return _measure(arguments, bench)


def _measure(arguments: argparse.Namespace, bench: Bench) -> int:
    names = arguments.systems.split(",")
    parts = [arguments.only] if arguments.only else list(_ROUNDS)
    if unknown := [name for name in names if name not in SYSTEMS]:
        print(f"no such system: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}", file=sys.stderr)
        return 2
    wanted = [SYSTEMS[name] for name in SYSTEMS if name in names]
    if parts == ["dialects"]:
        wanted = [system for system in wanted if system.has_dialects]
    if arguments.against is not None:
        return _compare(arguments, bench)
    systems, said = prepare([system(arguments.work) for system in wanted])
    rounds, share = (1, 0.2) if arguments.quick else (arguments.rounds, arguments.share)
    out: Path = arguments.out
    machine = _machine(said, rounds, share)
    for part in parts:
        (out / f"machine-{part}.md").write_text(machine)
        rows = Rows(out / f"{part}.jsonl")
        for number in range(1, rounds + 1):
            _ROUNDS[part](number, systems, bench, rows, share)
    _write_tables(out, parts)
    return 0


def _compare(arguments: argparse.Namespace, bench: Bench) -> int:
    """This relay beside that of another checkout, and the ratio of each figure, pair by pair."""
    pair = [RelayBefore(arguments.work, arguments.against), RelayTrio(arguments.work)]
    systems, said = prepare(pair)
    if len(systems) < len(pair):
        print("; ".join(said.values()), file=sys.stderr)
        return 1
    rounds, share = (1, 0.2) if arguments.quick else (arguments.rounds, arguments.share)
    cells = tuple(arguments.cells.split(",")) if arguments.cells else None
    rows = Rows(arguments.out / "against.jsonl")
    for number in range(1, rounds + 1):
        perf_round(number, systems if number % 2 else systems[::-1], bench, rows, share, cells)
    print(against_table(read_rows(arguments.out / "against.jsonl")))
    return 0


def _machine(said: dict[str, str], rounds: int, share: float) -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "unknown CPU",
    )
    node = (
        subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
        if shutil.which("node")
        else ""
    )
    versions = "; ".join(f"{name} {words}" for name, words in said.items() if name != "direct")
    warning = "" if share == 1 else f" Windows and storms at {share:.0%} of their size."
    return (
        f"{time.strftime('%d %b %Y')}, {rounds} interleaved rounds, {model}, {os.cpu_count()} cores (one the proxy's), "
        f"Linux {platform.release()}, Python {platform.python_version()}{', Node ' + node if node else ''}; "
        f"{versions}.{warning}\n"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _write_tables(out: Path, parts: Iterable[str]) -> None:
    """One Markdown file for each of ``parts`` that has rows, and the plot."""
    legend = (
        "Medians over rounds (least to most). \\* the bench's own core was more than 85 % busy: the figure is a lower "
        "bound of what the system can do. ° other processes used more than a tenth of a core.\n"
    )
    for part in parts:
        rows = read_rows(out / f"{part}.jsonl")
        if not rows:
            continue
        tables = {
            "perf": lambda rows: [legend, perf_table(rows), target_table(rows)],
            "dialects": lambda rows: [legend, dialect_table(rows)],
            "disconnects": lambda rows: [storm_table(rows)],
        }[part](rows)
        texts = [(out / f"machine-{part}.md").read_text(), *tables, _doubts(rows)]
        (out / f"{part}.md").write_text("\n\n".join(text.strip() for text in texts) + "\n")
        print((out / f"{part}.md").read_text())
        if part == "disconnects" and not plot_closes(rows, out / "disconnects.svg"):
            print('no plot: matplotlib is missing (pip install "relay-trio[bench]")', file=sys.stderr)


def _doubts(rows: list[dict[str, object]]) -> str:
    found = doubts(rows)
    return (
        "To be known before these figures are believed:\n\n" + "\n".join(f"- {one}" for one in found) if found else ""
    )


if __name__ == "__main__":
    sys.exit(main())
