"""The tables: medians over rounds with their spread, ratios to nginx, and the targets, from the raw rows alone.

``python -m benchmarks --report DIR`` makes them again from rows that were kept.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.dialects import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Rows = list[dict[str, Any]]

ORDER = ("direct", "nginx", "relay", "portkey", "litellm")
_CORE_LIMIT = 0.85
_FOREIGN_LIMIT = 0.1
_MOST_OF_CLAUDE = {"bedrock": 1.3, "translated": 3.0, "gemini": 1.3}
"""The targets for CPU per chunk, as a multiple of what a chunk of Claude's costs."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One column: where its number is, and how it is written. ``added``: less what no proxy had in that round."""

    title: str
    cell: str
    key: str
    tls: bool = False
    digits: int = 0
    added: bool = False


FIGURES = (
    Figure("CPU µs per chunk, paced", "paced", "us_per_chunk"),
    Figure("CPU µs per request, 1 KB", "requests-1k", "us_per_request"),
    Figure("CPU µs per request, 100 KB", "requests-100k", "us_per_request"),
    Figure("added TTFB ms, 1 stream, p50", "ttfb-1", "p50_ms", digits=2, added=True),
    Figure("added TTFB ms, 1 stream, p99", "ttfb-1", "p99_ms", digits=2, added=True),
    Figure("added TTFB ms, 50 streams, p50", "ttfb-50", "p50_ms", digits=2, added=True),
    Figure("added TTFB ms, 50 streams, p99", "ttfb-50", "p99_ms", digits=2, added=True),
    Figure("added TTFB ms, 200 streams, p50", "ttfb-200", "p50_ms", digits=2, added=True),
    Figure("added TTFB ms, 200 streams, p99", "ttfb-200", "p99_ms", digits=2, added=True),
    Figure("the same at 20 chunks/s each, p50", "ttfb-200-calm", "p50_ms", digits=2, added=True),
    Figure("the same at 20 chunks/s each, p99", "ttfb-200-calm", "p99_ms", digits=2, added=True),
    Figure("chunks/s passed of 10,000 offered", "ttfb-200", "chunks_per_s"),
    Figure("chunks/s at saturation, 50 streams", "saturation", "chunks_per_s"),
    Figure("KiB per open stream, of 1,000", "memory", "kib_per_stream", digits=1),
    Figure("client close → upstream close ms, streaming, p50", "close-streaming", "p50_ms", digits=2),
    Figure("… p99", "close-streaming", "p99_ms", digits=2),
    Figure("… not within 3 s, of 200", "close-streaming", "still_open"),
    Figure("client close → upstream close ms, silent, p50", "close-silent", "p50_ms", digits=2),
    Figure("… p99", "close-silent", "p99_ms", digits=2),
    Figure("… not within 3 s, of 200", "close-silent", "still_open"),
    Figure("TLS: CPU µs per chunk, paced", "paced", "us_per_chunk", tls=True),
    Figure("TLS: CPU µs per request, 1 KB", "requests-1k", "us_per_request", tls=True),
    Figure("TLS: CPU µs per request, 100 KB", "requests-100k", "us_per_request", tls=True),
    Figure("TLS: TTFB ms over plain direct, 50 streams, p50", "ttfb-50", "p50_ms", tls=True, digits=2, added=True),
    Figure("CPU µs per request, 1 client, few idle upstream connections", "pool-1", "us_per_request"),
    Figure("CPU µs per request, 1 client, 400 idle upstream connections", "pool-400", "us_per_request"),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """What one figure was, over the rounds."""

    values: tuple[float, ...]
    digits: int
    mark: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.median:,.{self.digits}f}{self.mark}"
        low, high = min(self.values), max(self.values)
        return f"{self.median:,.{self.digits}f} ({low:,.{self.digits}f} to {high:,.{self.digits}f}){self.mark}"


def read_rows(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def spread(rows: Rows, figure: Figure, system: str) -> Spread | None:
    """Over all rounds in which both the system and, for ``added``, no proxy was measured."""
    own = _by_round(rows, figure, system, tls=figure.tls)
    floor = _by_round(rows, figure, "direct", tls=False) if figure.added else dict.fromkeys(own)
    values = [
        row[figure.key] - (floor[number][figure.key] if figure.added else 0)
        for number, row in own.items()
        if number in floor and row.get(figure.key) is not None
    ]
    return Spread(tuple(values), figure.digits, _mark(own.values())) if values else None


def _by_round(rows: Rows, figure: Figure, system: str, *, tls: bool) -> dict[int, dict[str, Any]]:
    return {
        row["round"]: row
        for row in rows
        if row["cell"] == figure.cell and row["system"] == system and row.get("tls", False) == tls
    }


def _mark(rows: Iterable[dict[str, Any]]) -> str:
    """* the bench's core was the limit; ° other processes took CPU; each if so in half of the rounds or more."""
    rows = list(rows)
    own = statistics.median(row.get("upstream_share", 0) + row.get("generator_share", 0) for row in rows)
    foreign = statistics.median(row.get("foreign_cores", 0) for row in rows)
    return ("\\*" if own > _CORE_LIMIT else "") + ("°" if foreign > _FOREIGN_LIMIT else "")


def perf_table(rows: Rows) -> str:
    """One line for each figure, one column for each system."""
    systems = [name for name in ORDER if any(row["system"] == name for row in rows)]
    ratio = "nginx" in systems and "relay" in systems
    lines = ["| | " + " | ".join(systems) + (" | relay / nginx |" if ratio else " |")]
    lines.append("|---|" + "---|" * (len(systems) + ratio))
    for figure in FIGURES:
        spreads = {name: spread(rows, figure, name) for name in systems}
        if not any(spreads.values()):
            continue
        cells = ["-" if (figure.added and name == "direct") or not s else str(s) for name, s in spreads.items()]
        if ratio:
            relay, nginx = spreads["relay"], spreads["nginx"]
            is_ratio = relay is not None and nginx is not None and nginx.median > 0
            cells.append(f"{relay.median / nginx.median:.1f}x" if is_ratio and relay and nginx else "")
        lines.append(f"| {figure.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def target_table(rows: Rows) -> str:
    """The targets this project set itself, and whether the relay meets them in these rows."""

    def median(title_cell: str, key: str, system: str = "relay", *, added: bool = False) -> float | None:
        found = spread(rows, Figure("", title_cell, key, added=added), system)
        return found.median if found else None

    def ratio(cell: str, key: str, system: str) -> float | None:
        own, other = median(cell, key), median(cell, key, system)
        return own / other if own is not None and other else None

    def growth() -> float | None:
        few, many = median("pool-1", "us_per_request"), median("pool-400", "us_per_request")
        return many / few if few and many else None

    close = "client close → upstream close, 200 streams"
    targets: tuple[tuple[str, float, float | None, str, Callable[[], float | None]], ...] = (
        ("CPU per chunk, paced", 2.0, 1.5, "x nginx", lambda: ratio("paced", "us_per_chunk", "nginx")),
        ("CPU per request", 20, 10, "x nginx", lambda: ratio("requests-1k", "us_per_request", "nginx")),
        ("CPU per request", 0.25, None, "x Portkey", lambda: ratio("requests-1k", "us_per_request", "portkey")),
        ("CPU per request", 0.03, None, "x LiteLLM", lambda: ratio("requests-1k", "us_per_request", "litellm")),
        ("added TTFB, 1 stream, p50", 1.5, 0.8, "ms", lambda: median("ttfb-1", "p50_ms", added=True)),
        ("added TTFB, 200 streams, p50", 5, 2, "ms", lambda: median("ttfb-200", "p50_ms", added=True)),
        ("added TTFB, 200 streams, p99", 50, 15, "ms", lambda: median("ttfb-200", "p99_ms", added=True)),
        ("memory per open stream", 48, 24, "KiB", lambda: median("memory", "kib_per_stream")),
        (f"{close}, p50", 1.5, 0.5, "ms", lambda: median("close-streaming", "p50_ms")),
        (f"{close}, p99", 25, 5, "ms", lambda: median("close-streaming", "p99_ms")),
        ("cost per request, 400 idle upstream connections to few", 1.1, None, "x", growth),
    )
    lines = ["| target of the relay | at most | stretch | measured | |", "|---|---|---|---|---|"]
    for title, limit, stretch, unit, figure in targets:
        value = figure()
        wish = "-" if stretch is None else f"{stretch:g} {unit}"
        if value is None:
            lines.append(f"| {title} | {limit:g} {unit} | {wish} | not measured | |")
            continue
        verdict = (
            "stretch met" if stretch is not None and value <= stretch else "met" if value <= limit else "**missed**"
        )
        lines.append(f"| {title} | {limit:g} {unit} | {wish} | {value:.3g} {unit} | {verdict} |")
    return "\n".join(lines)


def against_table(rows: Rows) -> str:
    """Medians of two checkouts, and the ratio now to before: the median over the rounds' own ratios (least to most)."""
    lines = ["| | before | now | now / before |", "|---|---|---|---|"]
    for figure in FIGURES:
        found: dict[str, dict[int, float]] = {"before": {}, "relay": {}}
        for row in rows:
            is_one = row.get("cell") == figure.cell and bool(row.get("tls")) == figure.tls
            if is_one and row.get(figure.key) is not None and row["system"] in found:
                found[row["system"]][row["round"]] = float(row[figure.key])
        before, now = found["before"], found["relay"]
        ratios = [now[number] / before[number] for number in now if before.get(number)]
        if ratios:
            ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            medians = (f"{statistics.median(side.values()):.{max(figure.digits, 1)}f}" for side in (before, now))
            lines.append(f"| {figure.title} | {' | '.join(medians)} | {ratio} |")
    return "\n".join(lines)


def dialect_table(rows: Rows) -> str:
    """One line for each dialect: what a chunk and a request cost the relay, and the targets, which are for chunks."""

    def cost(cell: str, key: str, dialect: str) -> Spread | None:
        own = [row for row in rows if row["cell"] == cell and row["dialect"] == dialect and row.get(key) is not None]
        return Spread(tuple(row[key] for row in own), 1, _mark(own)) if own else None

    def ratio(cost: Spread | None, of: Spread | None) -> float | None:
        return cost.median / of.median if cost and of and of.median else None

    lines = [
        "| dialect | CPU µs per chunk, paced | ratio to Claude's | at most | | CPU µs per request, 1 KB | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    claude = cost("paced", "us_per_chunk", "claude"), cost("requests-1k", "us_per_request", "claude")
    for dialect in DIALECTS.values():
        chunk = cost("paced", "us_per_chunk", dialect.name)
        request = cost("requests-1k", "us_per_request", dialect.name)
        found, limit = ratio(chunk, claude[0]), _MOST_OF_CLAUDE.get(dialect.name)
        wish = "" if limit is None else f"{limit:g}x"
        if found is None or limit is None:
            verdict = "" if limit is None else "not measured"
        else:
            verdict = "met" if found <= limit else "**missed**"
        shown = [f"{value:.2f}x" if value else "" for value in (found, ratio(request, claude[1]))]
        cells = (dialect.title, str(chunk or ""), shown[0], wish, verdict, str(request or ""), shown[1])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def storm_table(rows: Rows) -> str:
    """All hang-ups of all rounds together, because a percentile of five medians hides the worst."""
    lines = [
        "| scenario | system | hung up | upstream streams still open after 5 s | close to close p50 / p99 ms "
        "| tokens generated for nobody | sockets leaked | memory grown, KiB | slots leaked |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["cell"] for row in rows if "latencies_ms" in row):
        for system in ORDER:
            own = [row for row in rows if row["cell"] == name and row["system"] == system and "latencies_ms" in row]
            if own:
                lines.append(f"| {name} | {system} | " + " | ".join(_storm_cells(own)) + " |")
    return "\n".join(lines)


def _storm_cells(rows: Rows) -> list[str]:
    latencies = sorted(latency for row in rows for latency in row["latencies_ms"])
    reached, still_open = _sum(rows, "reached"), _sum(rows, "still_open")
    times = "-"
    if latencies:
        times = f"{latencies[len(latencies) // 2]:,.1f} / {latencies[int(len(latencies) * 0.99)]:,.1f}"
    slots = str(_sum(rows, "leaked_slots")) if "leaked_slots" in rows[0] else "no slots"
    return [
        f"{_sum(rows, 'left')}",
        f"{still_open} of {reached}" if reached else "none reached it",
        times,
        f"{_sum(rows, 'wasted_events'):,}",
        f"{_sum(rows, 'leaked_sockets')}",
        f"{statistics.median(row['grown_kib'] for row in rows):,.0f}",
        slots,
    ]


def _sum(rows: Rows, key: str) -> int:
    return sum(row.get(key) or 0 for row in rows)


def doubts(rows: Rows) -> list[str]:
    """Everything in the rows that a reader must know before believing the table."""
    found: list[str] = []
    for row in rows:
        where = f"round {row['round']}, {row['cell']}{' TLS' if row.get('tls') else ''}, {row['system']}"
        if row.get("dialect", "claude") != "claude":
            where += f", {row['dialect']}"
        if row["cell"] == "start":
            found.append(f"{where}: did not start: {row['reason']}")
        elif row["cell"] == "correctness" and row["verdict"] != "equal":
            found.append(f"{where}: {row['verdict']}")
        found += [
            f"{where}: {row[key]} {key}"
            for key in ("failed", "short", "unfinished")
            if row.get(key) and not (key == "unfinished" and "left" in row)
        ]
        if row.get("all_opened") is False:
            found.append(f"{where}: not every stream had its first event within 90 s")
        wrong = {name: count for name, count in row.get("ledger", {}).items() if not _is_expected(name)}
        if wrong:
            found.append(f"{where}: ledger has {wrong}")
        if row.get("invariants_hold") is False:
            found.append(f"{where}: an invariant of the relay does not hold")
    return list(dict.fromkeys(found))


def _is_expected(outcome: str) -> bool:
    return outcome == "completed (exact)" or outcome.startswith(("client_disconnect", "client_timeout"))
