"""What every system under test is to the bench: it can be set up, started in a variant, paused and stopped.

Each runs on core 0 alone. Systems that are not being measured are stopped with SIGSTOP, so that the background work of
one is not charged to the cell of another.

What is other people's is installed from a lock file with hashes, without running any of it, and runs with an
environment that holds nothing but a path and a home of its own: whoever starts the benchmark has credentials in theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.dialects import DIALECTS
from benchmarks.meter import tree
from benchmarks.order import Order
from benchmarks.stream import Stream, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOCKED = Path(__file__).with_name("locked")
"""What is installed, to the last package and hash."""

PROXY_CORE = 0
BENCH_CORE = 1
UPSTREAM_KEY = "sk-ant-bench"
_STOP_SECONDS = 5.0


class NotMeasuredError(Exception):
    """This system cannot be had, or does not run, here. The message goes into the report."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How a system is started. ``slots``: of the whole pool, where the system has such a thing.

    ``has_all_dialects``: with accounts for each, where the system has such things. ``stall_seconds``: the limit for a
    client that stops reading, where the system has one (None: its default).
    """

    tls: bool = False
    slots: int = 8000
    has_all_dialects: bool = False
    stall_seconds: int | None = None


@dataclass(slots=True)
class Running:
    """A system that is up. ``root`` is its first process, None for no proxy at all."""

    name: str
    target: Target
    root: subprocess.Popen[bytes] | None
    directory: Path
    admin_url: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def speaking(self, dialect: str) -> Running:
        """The same system, to clients of that dialect."""
        return replace(self, target=replace(self.target, dialect=dialect))

    @property
    def pid(self) -> int:
        return self.root.pid if self.root is not None else 0

    @property
    def pids(self) -> list[int]:
        return tree(self.root.pid) if self.root is not None else []

    def signal(self, number: int) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it: politely, then not. Only processes that it started are touched."""
        if self.root is None:
            return
        self.resume()
        pids = self.pids
        self.root.terminate()
        try:
            self.root.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.root.wait()


class System:
    """One system. ``prepare`` installs it once; ``start`` may be called many times."""

    name = ""
    has_tls = False
    has_queue = False
    has_dialects = False
    is_proxy = True

    def __init__(self, work: Path) -> None:
        self.work = work / self.name
        self.work.mkdir(parents=True, exist_ok=True)
        self._started = 0

    def prepare(self) -> str:
        """Install what is missing. Returns the version for the report.

        Raises:
            NotMeasuredError: it cannot be had here.
        """
        raise NotImplementedError

    def start(self, upstream_port: int, variant: Variant) -> Running:
        """A fresh process on core 0, ready for requests.

        Raises:
            NotMeasuredError: it did not come up.
        """
        raise NotImplementedError

    def fresh_directory(self) -> Path:
        """For one process: configuration, log, ledger. What an earlier run left there is removed."""
        self._started += 1
        directory = self.work / f"run-{self._started}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        return directory

    def launch(
        self,
        directory: Path,
        command: Sequence[str | Path],
        target: Target,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start ``command`` on core 0, its output in ``directory/log``, and wait until it answers an order.

        ``environment`` is all that it has, beside a path and ``directory`` as its home.
        """
        with (directory / "log").open("wb") as log:
            root = subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=directory,
                env={"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8", **(environment or {})},
                preexec_fn=lambda: os.sched_setaffinity(0, {PROXY_CORE}),
            )
        running = Running(self.name, target, root, directory)
        try:
            wait_ready(running)
        except BaseException:
            running.stop()
            raise
        return running


def wait_ready(running: Running, seconds: float = 180.0) -> None:
    """Until it passes an answer on.

    Raises:
        NotMeasuredError: it ended, or did not answer in time.
    """
    deadline = time.monotonic() + seconds
    last = "no answer"
    while time.monotonic() < deadline:
        if running.root is not None and running.root.poll() is not None:
            tail = (running.directory / "log").read_text(errors="replace")[-600:]
            raise NotMeasuredError(f"{running.name} ended with status {running.root.returncode}: {tail}")
        try:
            status, _ = fetch_order(running.target, Order(stream=0))
        except OSError as error:
            last = str(error)
        else:
            if status == 200:
                return
            last = f"status {status}"
        time.sleep(0.2)
    raise NotMeasuredError(f"{running.name} was not ready after {seconds:g} s: {last}")


def fetch_order(target: Target, order: Order, seconds: float = 20.0) -> tuple[int, bytes]:
    """One answer, waited for: status and body as it came (chunked or not).

    Raises:
        OSError: no connection, or no whole answer in time.
    """
    stream = Stream(keep_body=True)
    try:
        stream.open(target)
        assert stream.sock is not None
        sample = DIALECTS[target.dialect].request(order, 0)
        stream.send(target.request(sample.target, sample.body), order.id)
        stream.sock.settimeout(seconds)
        while not stream.is_done:
            if not stream.receive() and not stream.is_done:
                raise OSError("the connection ended before the answer did")
    finally:
        stream.close()
    return stream.status, stream.body


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def run_setup(command: Sequence[str | Path], *, cwd: Path | None = None, seconds: float = 900.0) -> None:
    """An installer.

    Raises:
        NotMeasuredError: it failed; with its last words.
    """
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMeasuredError(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise NotMeasuredError(f"{command[0]} {command[1]} failed: {words[0][:200]}")


def locked_folder(work: Path, *locks: Path) -> Path:
    """The folder in ``work`` for what these lock files install: another one for other files."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    return work / f"installed-{digest[:12]}"


def certificate(work: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key, made once.

    Raises:
        NotMeasuredError: openssl is missing.
    """
    cert, key = work / "cert.pem", work / "key.pem"
    if not cert.exists():
        subject = ["-subj", "/CN=127.0.0.1", "-days", "3650"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run_setup(["openssl", "req", "-x509", *kind, *subject, "-keyout", key, "-out", cert])
    return cert, key
