"""Interleaving: in each round every system is started afresh, and each cell runs on all of them before the next cell.

So a noisy minute hits all systems alike, and the spread over rounds includes that of a process's start. Only the system
whose turn it is may run; the others are stopped. A row is written as soon as it is known: an interrupted run keeps its.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.cells import CELLS, DIALECT_CELLS, measure
from benchmarks.correctness import check
from benchmarks.dialects import DIALECTS
from benchmarks.storms import STORMS, strike
from benchmarks.systems.base import NotMeasuredError, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.systems.base import Running, System


class Rows:
    """The raw rows, kept as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text("")

    def add(self, row: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def prepare(systems: list[System]) -> tuple[list[System], dict[str, str]]:
    """Install all; those that cannot be had are left out. With them, what is to be said of each: version or reason."""
    usable, said = [], {}
    for system in systems:
        _say(f"setting up {system.name}")
        try:
            said[system.name] = system.prepare()
            usable.append(system)
        except NotMeasuredError as error:
            said[system.name] = f"not measured: {error}"
            _say(said[system.name])
    return usable, said


def perf_round(
    number: int, systems: list[System], bench: Bench, rows: Rows, share: float, cells: tuple[str, ...] | None = None
) -> None:
    """All performance cells (or those named ``cells``) on all systems, plain first, then TLS on those that have it."""
    for tls in (False, True):
        having = [system for system in systems if system.has_tls or not tls]
        with _running(having, bench, Variant(tls=tls), number, rows) as fleet:
            for cell in CELLS:
                for running in fleet if cell.tls == tls else ():
                    if (cell.only and running.name not in cell.only) or (cells and cell.name not in cells):
                        continue
                    _say(f"round {number}  {cell.name}{' tls' if tls else ''}  {running.name}")
                    with _turn(running):
                        rows.add({"round": number, **measure(cell, bench, running, share)})


def dialect_round(number: int, systems: list[System], bench: Bench, rows: Rows, share: float) -> None:
    """The cells of each dialect on the systems that speak them. One that is not answered is left out of the round."""
    speaking = [system for system in systems if system.has_dialects]
    with _running(speaking, bench, Variant(has_all_dialects=True), number, rows) as fleet:
        for running in fleet:
            with _turn(running):
                answered = [name for name in DIALECTS if _is_answered(running, name, number, rows)]
            for cell in DIALECT_CELLS:
                if cell.dialect in answered:
                    _say(f"round {number}  {cell.name} {cell.dialect}  {running.name}")
                    with _turn(running):
                        rows.add({"round": number, **measure(cell, bench, running, share)})


def _is_answered(running: Running, dialect: str, number: int, rows: Rows) -> bool:
    row = {"round": number, "system": running.name, "dialect": dialect}
    try:
        verdict = check(running.speaking(dialect))
    except OSError as error:
        _say(f"{running.name}: {dialect}: not measured: {error}")
        rows.add({**row, "cell": "start", "reason": str(error)[:300]})
        return False
    rows.add({**row, "cell": "correctness", "verdict": verdict})
    return "was answered with" not in verdict


def storm_round(number: int, systems: list[System], bench: Bench, rows: Rows, share: float) -> None:
    """All scenarios on all systems. A scenario in a queue runs where there is one."""
    proxies = [system for system in systems if system.is_proxy]
    for needs_queue in (True, False):
        storms = [storm for storm in STORMS if storm.needs_queue == needs_queue]
        having = [system for system in proxies if system.has_queue or not needs_queue]
        with _running(having, bench, storms[0].variant, number, rows) as fleet:
            for storm in storms:
                for running in fleet:
                    _say(f"round {number}  {storm.name}  {running.name}")
                    with _turn(running):
                        rows.add({"round": number, **strike(storm, bench, running, share)})


@contextmanager
def _running(systems: list[System], bench: Bench, variant: Variant, number: int, rows: Rows) -> Iterator[list[Running]]:
    fleet: list[Running] = []
    try:
        for system in systems:
            try:
                running = system.start(bench.upstream_port, variant)
                verdict = check(running)
            except (NotMeasuredError, OSError) as error:
                _say(f"{system.name}: not measured: {error}")
                rows.add({"round": number, "cell": "start", "system": system.name, "reason": str(error)[:300]})
                continue
            rows.add({"round": number, "cell": "correctness", "system": system.name, "verdict": verdict})
            running.pause()
            fleet.append(running)
        yield fleet
    finally:
        for running in fleet:
            running.stop()


@contextmanager
def _turn(running: Running) -> Iterator[None]:
    running.resume()
    try:
        yield
    finally:
        running.pause()


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {words}", file=sys.stderr, flush=True)
