"""The bench: the upstream process, and running one job of the generator against one system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.generator import Job
from benchmarks.meter import sockets
from benchmarks.systems.base import BENCH_CORE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.order import Order
    from benchmarks.systems.base import Running

_JOB_LIMIT_SECONDS = 300.0


class GeneratorFailedError(Exception):
    """The load generator died: a defect of the bench, not of the system. The message has its last words."""


class Bench:
    """One upstream, for all systems and all rounds."""

    def __init__(self, upstream: subprocess.Popen[str], root: Path) -> None:
        assert upstream.stdout is not None
        self.upstream_port = int(upstream.stdout.readline())
        self._upstream = upstream
        self._root = root
        self._next_id = 1

    def run(self, running: Running, kind: str, order: Order, clients: int, **details: Any) -> dict[str, Any]:
        """One job; ids never repeat, so the upstream's log cannot mix two jobs up."""
        job = Job(
            kind=kind,
            target=running.target,
            order=order,
            clients=clients,
            proxy_pid=running.pid,
            upstream_pid=self._upstream.pid,
            first_id=self._next_id,
            **details,
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.generator"],
            input=job.to_json(),
            capture_output=True,
            text=True,
            timeout=_JOB_LIMIT_SECONDS,
            check=False,
            cwd=self._root,
            preexec_fn=lambda: os.sched_setaffinity(0, {BENCH_CORE}),
        )
        if done.returncode != 0:
            raise GeneratorFailedError(done.stderr[-2000:])
        result: dict[str, Any] = json.loads(done.stdout)
        self._next_id = result["last_id"] + 1
        return result

    def log(self) -> dict[str, Any]:
        """What the upstream saw since the last call."""
        return self._ask("log")

    def reset(self) -> None:
        """Close what is still being answered, so that a stream nobody closed does not weigh on the next cell."""
        self._ask("reset")

    def held_sockets(self, running: Running, log: dict[str, Any]) -> int:
        """Sockets of a system that are not idle connections to the upstream: those it holds for clients or answers."""
        idle = log["connections"] - len(log["open"]) - 1  # the one that requested the log
        return sockets(running.pids) - idle

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.upstream_port}/bench/{what}", timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
            return content


@contextmanager
def open_bench(root: Path) -> Iterator[Bench]:
    """Start the upstream on the bench's core; ``root`` is the checkout."""
    upstream = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        preexec_fn=lambda: os.sched_setaffinity(0, {BENCH_CORE}),
    )
    try:
        yield Bench(upstream, root)
    finally:
        upstream.kill()
        upstream.wait()


def settle(seconds: float = 0.3) -> None:
    """Let connections that were just closed be seen by everybody."""
    time.sleep(seconds)
