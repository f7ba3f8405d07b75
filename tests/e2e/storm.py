"""The storm: clients that leave in every phase and every way, upstreams that fail, and then: is everything back?

::

    this process                                        a process of its own
    ├─ simulator, 10 % faults  ◄──── real sockets ────  relay-trio serve: accounts of every simulated vendor
    └─ clients of all dialects ────► real sockets ────►   └─ /debug/invariants, sampled all the while

``python -m tests.e2e.storm --requests 10000`` runs the long one and prints what happened. Afterwards slots, tasks and
file descriptors must be where they were, and each request must have its one row with the tokens that were served.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.demo.audit import Audit, audit, read_rows
from relay_trio.demo.clients import Sent, hang_up, receive
from relay_trio.demo.http_client import Way, open_client
from relay_trio.simulator import Simulator, SimulatorSettings, open_simulator
from relay_trio.simulator.samples import Prompt, SampleRequest
from relay_trio.simulator.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay_trio.demo.http_client import HttpClient
    from relay_trio.ledger.row import LedgerRow

KEY = "rt_storm"
FAULTS = (
    "429:0.015,529:0.01,500:0.01,reset_before_head:0.01,close_before_head:0.005,reset:0.015,close:0.01,end:0.01,"
    "stall:0.01,silent:0.005"
)
"""10 % of the requests to every account but the clean one."""

_ACCOUNTS = tuple(account for vendor in VENDORS for account in vendor.samples.accounts)
_CLEAN = _ACCOUNTS[0]
_MOST, *_OTHERS = (form for vendor in VENDORS for form in vendor.samples.requests)
"""The accounts of the vendor that most clients speak to, and those of others that translate, share its requests."""

_SLOTS = 8
_WRITE_SECONDS = 1.5
_BASELINE_SECONDS = 2.0
"""FAULTS.md section 2: tasks and file descriptors are back within it."""

_READ_AT_LAST_SECONDS = 1.0
"""A request that was whole on the wire for so long has been read by any relay that lives."""

_REQUEST_SECONDS = 30.0
_SAMPLE_SECONDS = 0.2
_CONNECT_SECONDS = 10.0

CONFIG = """
[server]
listeners = ["127.0.0.1:0"]
ledger = "relay.db"
drain_seconds = 2
[admin]
listener = "127.0.0.1:0"
[timeouts]
connect_timeout_seconds = 2
first_byte_timeout_seconds = 1.5
whole_answer_timeout_seconds = 1.5
idle_timeout_seconds = 1
body_idle_timeout_seconds = 2
write_timeout_seconds = {write}
[queue]
queue_timeout_seconds = 20
[breaker]
eject_seconds = 0.5
eject_max_seconds = 0.5
retry_after_max_seconds = 0.05
[[key]]
name = "storm"
secret = "{key}"
"""


class Moment(Enum):
    """When a client leaves."""

    NEVER = auto()
    HEAD = auto()  # in mid-head: the relay never had a request
    BODY = auto()  # in mid-body
    REQUESTED = auto()  # some time after the request was whole: queued, connecting, waiting, or streaming unread
    STREAMING = auto()  # after some parts of the answer
    STALLED = auto()  # not reading, with a tiny receive buffer and an answer of a megabyte: the relay is in mid-write
    STUCK = auto()  # the same for longer than the relay waits
    LAST = auto()  # with the last event in hand, before the end of the body
    AFTER = auto()  # with the whole answer in hand


_OTHER_DIALECTS = 0.4
"""Share of the requests that are not in the dialect of most."""

_WEIGHTS = {
    Moment.NEVER: 30,
    Moment.HEAD: 2,
    Moment.BODY: 6,
    Moment.REQUESTED: 22,
    Moment.STREAMING: 22,
    Moment.STALLED: 8,
    Moment.STUCK: 1,
    Moment.LAST: 5,
    Moment.AFTER: 4,
}


@dataclass(slots=True)
class StormSent(Sent):
    """``requested_at``, ``left_at``: monotonic seconds; the request was whole on the wire, the client left."""

    moment: Moment = Moment.NEVER
    way: Way = Way.FIN
    requested_at: float | None = None
    left_at: float | None = None
    is_idle_held_open: bool = False
    """The connection was idle when it was half-closed, and the relay did not close it."""


@dataclass(slots=True)
class Report:
    """What a storm was and what it left behind.

    ``problems`` are broken promises about requests; ``leftovers`` what was not back ``_BASELINE_SECONDS`` after it.
    """

    sent: list[StormSent]
    audit: Audit
    rows: list[LedgerRow]
    problems: list[str]
    leftovers: list[str]
    seconds: float
    samples: int
    peak: dict[str, int]
    baseline: dict[str, int]
    back_seconds: float
    rss_kib: tuple[int, int]
    departures_ms: dict[str, list[float]] = field(default_factory=dict)


class RelayProcess:
    """``relay-trio serve`` in a process of its own."""

    def __init__(self, process: trio.Process, log: Path, url: str, admin_url: str, ledger: Path) -> None:
        self.process = process
        self.log = log
        self.admin_url = admin_url
        self.ledger = ledger
        host, _, port = url.rpartition("/")[2].rpartition(":")
        self.address = (host, int(port))

    async def invariants(self) -> dict[str, Any]:
        """``/debug/invariants``. Cancelled here: atomic."""
        content: dict[str, Any] = json.loads(await self.ask("/debug/invariants"))
        return content

    async def ask(self, path: str) -> str:
        """A page of the admin listener. Cancelled here: atomic."""
        return await trio.to_thread.run_sync(self._ask, path, abandon_on_cancel=True)

    def _ask(self, path: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.admin_url}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def rss_kib(self) -> int:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) if found else 0


@asynccontextmanager
async def open_relay_process(folder: Path, base_url: str) -> AsyncIterator[RelayProcess]:
    """A relay with the storm's configuration in front of ``base_url``; terminated on leaving.

    Cancelled here: destroys; the process is killed.
    """
    config = folder / "relay.toml"
    accounts = [account.table(base_url) | {"max_concurrency": _SLOTS, "models": ["*"]} for account in _ACCOUNTS]
    config.write_text(CONFIG.format(write=_WRITE_SECONDS, key=KEY) + "".join(map(_account_toml, accounts)))
    config.chmod(0o600)
    log = folder / "relay.log"
    command = [sys.executable, "-m", "relay_trio", "serve", "--config", str(config)]
    async with trio.open_nursery() as nursery:
        with log.open("wb") as stderr:
            run = partial(trio.run_process, command, stderr=stderr, stdin=subprocess.DEVNULL, check=False)
            process = await nursery.start(run)
        url, admin_url = await _bound(log)
        yield RelayProcess(process, log, url, admin_url, folder / "relay.db")
        process.send_signal(signal.SIGTERM)


def _account_toml(table: dict[str, object]) -> str:
    """Model ids are left out: a name with a spec in it would not be found among them."""
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in table.items() if name != "model_ids"]
    return "".join(["[[account]]\n", *lines])


async def _bound(log: Path) -> tuple[str, str]:
    """The URLs of the start block. Cancelled here: atomic."""
    with trio.fail_after(20):
        while True:
            text = await trio.Path(log).read_text()
            relay = re.search(r"^  relay +(http\S+)\n", text, re.MULTILINE)
            admin = re.search(r"^  admin +(http\S+)\n", text, re.MULTILINE)
            if relay and admin:
                return relay[1], admin[1]
            await trio.sleep(0.05)


# --- one client ---------------------------------------------------------------------------------------------------


async def receive_last_event(client: HttpClient, request: SampleRequest, sent: Sent) -> None:
    """Read until the last event is in hand, and no further. Cancelled here: destroys."""
    answer = await client.receive_head()
    if answer is None:
        return
    sent.status = answer.status
    while await client.receive_part(answer):
        if answer.status == 200 and request.is_finished(answer.tail(2048)):
            return
    sent.is_whole = sent.is_finished = answer.is_whole


class StormClient:
    """Makes requests, one after the other, until the storm has had them all."""

    def __init__(self, address: tuple[str, int], rng: random.Random, sent: list[StormSent]) -> None:
        self._address = address
        self._rng = rng
        self._sent = sent
        self._client: HttpClient | None = None

    async def run(self, total: int) -> None:
        """Cancelled here: destroys."""
        try:
            while len(self._sent) < total:
                moment = self._rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
                sent = StormSent(f"storm-{len(self._sent)}", moment=moment, way=self._rng.choice(tuple(Way)))
                self._sent.append(sent)
                with trio.move_on_after(_REQUEST_SECONDS) as limit:
                    await self._make_request(sent)
                sent.is_held_open = sent.is_held_open or limit.cancelled_caught
        finally:
            self._close()

    async def _make_request(self, sent: StormSent) -> None:
        """Cancelled here: destroys."""
        try:
            await self._live(sent)
        except (trio.BrokenResourceError, OSError):
            self._close()
        else:
            if self._client is not None and not self._client.can_go_on:
                self._close()
        finally:
            sent.is_admitted = sent.status is not None

    async def _live(self, sent: StormSent) -> None:
        """Cancelled here: destroys."""
        rng, is_tiny = self._rng, sent.moment in (Moment.STALLED, Moment.STUCK)
        if self._client is not None and (is_tiny or rng.random() < 0.3):
            self._close()
        client = self._client = self._client or await open_client(
            self._address, receive_buffer_bytes=1 if is_tiny else None
        )
        request = self._draw(sent)
        head, body = request.encoded(("x-request-id", sent.request_id))
        if sent.moment is Moment.HEAD:
            await client.send(head[: rng.randrange(len(head))])
            return await self._leave(client, sent)
        if sent.moment is Moment.BODY:
            await client.send(head + body[: rng.randrange(len(body))])
            await trio.sleep(rng.uniform(0, 0.05))
            return await self._leave(client, sent)
        await client.send(head + body)
        sent.requested_at = time.monotonic()
        match sent.moment:
            case Moment.REQUESTED:
                await trio.sleep(rng.uniform(0, 0.3))
            case Moment.STREAMING:
                await receive(client, request, sent, rng.randint(1, 15))
            case Moment.STALLED | Moment.STUCK:
                await receive(client, request, sent, rng.randint(1, 3))
                is_stuck = sent.moment is Moment.STUCK
                await trio.sleep(_WRITE_SECONDS + 0.7 if is_stuck else rng.uniform(0.05, 0.4))
            case Moment.LAST:
                await receive_last_event(client, request, sent)
            case _:
                await receive(client, request, sent)
        if client.ended is not None:
            return
        if sent.moment is Moment.AFTER or (sent.moment is not Moment.NEVER and not sent.is_whole):
            await self._leave(client, sent)

    def _draw(self, sent: StormSent) -> SampleRequest:
        rng = self._rng
        if sent.moment in (Moment.STALLED, Moment.STUCK):
            spec = "chunks=1500,chars=800"
        elif rng.random() < 0.2:
            spec = f"chunks={rng.randint(1, 60)}"  # as fast as it goes
        else:
            spec = f"delay={rng.uniform(0, 0.1):.3f},chunks={rng.randint(3, 30)},pace={rng.uniform(0, 0.02):.4f}"
        is_stream = sent.moment in (Moment.STALLED, Moment.STUCK, Moment.LAST) or rng.random() < 0.9
        form = rng.choice(_OTHERS) if rng.random() < _OTHER_DIALECTS else _MOST
        spec = f"{spec},tag={sent.request_id}"
        return form(Prompt("storm " * rng.randint(1, 200), 10_000, KEY, is_stream=is_stream, spec=spec))

    async def _leave(self, client: HttpClient, sent: StormSent) -> None:
        """Cancelled here: destroys."""
        sent.has_left = True
        sent.left_at = time.monotonic()
        is_held_open = await hang_up(client, sent.way)
        if sent.is_whole:
            sent.is_idle_held_open = is_held_open
        else:
            sent.is_held_open = is_held_open

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


# --- the storm ----------------------------------------------------------------------------------------------------


class Watch:
    """Samples of ``/debug/invariants`` while the storm lasts."""

    def __init__(self, relay: RelayProcess) -> None:
        self.samples = 0
        self.broken: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self._relay = relay

    async def run(self) -> None:
        """Until cancelled. Cancelled here: safe to retry."""
        while True:
            self.note(await self._relay.invariants())
            await trio.sleep(_SAMPLE_SECONDS)

    def note(self, sample: dict[str, Any]) -> None:
        self.samples += 1
        for name, holds in sample["invariants"].items():
            self.broken[name] += not holds
        clean = sample["accounts"][_CLEAN.name]["state"]
        self.broken[f"the account without faults was {clean}"] += clean != "ready"
        for name, account in sample["accounts"].items():
            self.broken[f"{name} was disabled"] += account["state"] == "auth_failed"
        for what, value in {**_held(sample), "buffered bytes": sample["buffered_bytes"]["total"]}.items():
            self.peak[what] = max(self.peak[what], value)


def _held(sample: dict[str, Any]) -> dict[str, int]:
    """What a relay at rest has none of, or as many as before. Idle upstream connections are not leaks."""
    return {
        "slots": sum(account["slots"] for account in sample["accounts"].values()),
        "live requests": sample["requests"]["live"],
        "waiting": sample["queue"]["waiting"],
        "open rows": sample["ledger"]["open_rows"],
        "upstream calls": sample["upstream"]["calls"],
        "tasks": sample["tasks"],
        "fds": sample["fds"] - sample["upstream"]["open_connections"],
    }


async def storm(folder: Path, *, requests: int, clients: int = 60, seed: int = 0, seconds: float = 600) -> Report:
    """Run it. ``seconds`` bounds it. Cancelled here: destroys."""
    sent: list[StormSent] = []
    settings = SimulatorSettings(seed=seed, faults=FAULTS, keep_bodies=False)
    async with open_simulator(settings) as simulator, open_relay_process(folder, simulator.base_url) as relay:
        simulator.plan_account(_CLEAN.credential, "fault=none")
        await _warm_up(relay)
        baseline, rss_before = _held(await relay.invariants()), relay.rss_kib()
        watch = Watch(relay)
        started = time.monotonic()
        with trio.fail_after(seconds):
            async with trio.open_nursery() as watching:
                watching.start_soon(watch.run)
                async with trio.open_nursery() as nursery:
                    for number in range(clients):
                        client = StormClient(relay.address, random.Random(f"{seed} {number}"), sent)
                        nursery.start_soon(client.run, requests)
                watching.cancel_scope.cancel()
        lasted = time.monotonic() - started
        problems = [f"{name}: {count} of {watch.samples} samples" for name, count in watch.broken.items() if count]
        back_seconds, leftovers = await _until_back(relay, baseline)
        rss = rss_before, relay.rss_kib()
        # Who stalls after a whole answer does so on a connection that the relay rightly keeps for the next request.
        live = sum(record.is_live and not record.is_finished for record in simulator.truth.records)
        leftovers += [f"the upstream still has {live} live requests"] if live else []
    held_open = sum(request.is_idle_held_open for request in sent)
    leftovers += [f"{held_open} idle connections held open after a half-close"] if held_open else []
    problems += _log_problems(relay.log)
    rows = [row for row in read_rows(relay.ledger) if row.client_request_id != "warm-up"]
    found = _audit(sent, rows, simulator)
    problems += found.problems
    problems += _unread_problems(sent, rows)
    return Report(
        sent, found, rows, problems, leftovers, lasted, watch.samples, dict(watch.peak), baseline, back_seconds, rss,
        _departures(sent, simulator),
    )  # fmt: skip


async def _warm_up(relay: RelayProcess) -> None:
    """What is made once is made before the baseline is taken. Cancelled here: destroys."""
    for _ in range(4):
        client = await open_client(relay.address)
        sent = Sent("warm-up")
        request = _MOST(Prompt("hi", 5, KEY, spec="fault=none"))
        await client.send(b"".join(request.encoded(("x-request-id", sent.request_id))))
        await receive(client, request, sent)
        assert sent.status == 200, f"the warm-up was answered {sent.status}: {relay.log}"
        client.close()
        await relay.invariants()
    await trio.sleep(0.3)


async def _until_back(relay: RelayProcess, baseline: dict[str, int]) -> tuple[float, list[str]]:
    """Seconds until nothing is held beyond ``baseline``, and what still was in the end. Cancelled here: atomic."""
    started = time.monotonic()
    while True:
        sample = await relay.invariants()
        held = {**_held(sample), "broken invariants": sum(not holds for holds in sample["invariants"].values())}
        seconds = time.monotonic() - started
        over = {what: value for what, value in held.items() if value > baseline.get(what, 0)}
        if not over or seconds > _BASELINE_SECONDS:
            lines = [
                f"{what} after the storm: {value}, before: {baseline.get(what, 0)}" for what, value in over.items()
            ]
            if lines:
                await trio.Path(relay.log.with_name("tasks.txt")).write_text(await relay.ask("/debug/tasks"))
            return seconds, lines
        await trio.sleep(0.05)


def _audit(sent: list[StormSent], rows: list[LedgerRow], simulator: Simulator) -> Audit:
    served_tags = {record.tag for record in simulator.truth.records}
    for request in sent:
        request.is_admitted = request.is_admitted or request.request_id in served_tags
    return audit(sent, rows, simulator.truth.records)


def _unread_problems(sent: Sequence[StormSent], rows: Sequence[LedgerRow]) -> list[str]:
    found = {row.client_request_id for row in rows}
    waited = [
        request.request_id
        for request in sent
        if request.request_id not in found
        and request.requested_at is not None
        and (request.left_at or time.monotonic()) - request.requested_at > _READ_AT_LAST_SECONDS
    ]
    return [f"{len(waited)} requests that waited have no row: {', '.join(waited[:3])}"] if waited else []


def _log_problems(log: Path) -> list[str]:
    """Anything in the log that is not one of the lines that belong there."""
    odd = [
        line
        for line in log.read_text().splitlines()
        if not line.startswith(("{", "relay-trio ", "  relay ", "  admin ", "  ledger ", "  account ", "draining "))
        or '"event": "defect"' in line
    ]
    return [f"{len(odd)} odd lines in the log, the first: {odd[0][:500]}"] if odd else []


def _departures(sent: Sequence[StormSent], simulator: Simulator) -> dict[str, list[float]]:
    """Milliseconds until the upstream saw that the client had left, by moment and way.

    Counted from when the client left, or from when the request reached the upstream, if the relay was so busy that this
    came later: it cannot see the end of what it has not begun to read.
    """
    left = {request.request_id: request for request in sent if request.left_at is not None}
    found: defaultdict[str, list[float]] = defaultdict(list)
    for record in simulator.truth.records:
        request = left.get(record.tag) if not record.is_finished else None
        if request is not None and request.left_at is not None and record.client_closed_at is not None:
            late = (record.client_closed_at - max(request.left_at, record.opened_at)) * 1000
            if late > 0:  # else it was closed for another reason, before
                found[f"{request.moment.name} {request.way.name}"].append(late)
    return dict(found)


# --- the report ---------------------------------------------------------------------------------------------------


def print_report(report: Report) -> None:
    """What happened, for people."""
    total = len(report.sent)
    print(f"{total} requests in {report.seconds:.1f} s ({total / report.seconds:.0f}/s), {report.samples} samples")
    moments = Counter(request.moment.name for request in report.sent if request.has_left)
    ways = Counter(request.way.name for request in report.sent if request.has_left)
    print(f"  left        {sum(ways.values())}: {_told(ways)}; {_told(moments)}")
    print(f"  rows        {report.audit.rows}/{report.audit.requests}, and {report.audit.unread} never read")
    print(f"  outcomes    {_told(Counter(row.outcome_word for row in report.rows))}")
    print(f"  codes       {_told(Counter(row.outcome_code for row in report.rows))}")
    print(f"  usage       {_told(Counter(row.usage.source.value for row in report.rows))}")
    print(f"  peak        {_told(Counter(report.peak))}")
    print(f"  baseline    {_told(Counter(report.baseline))}   back after {report.back_seconds * 1000:.0f} ms")
    print(f"  RSS         {report.rss_kib[0] / 1024:.1f} -> {report.rss_kib[1] / 1024:.1f} MiB")
    gone = [row for row in report.rows if row.outcome_word == "client_disconnect"]
    print(f"  release ms  client gone: {quantiles([row.release_ms for row in gone if row.release_ms is not None])}")
    for way, values in sorted(report.departures_ms.items()):
        print(f"  upstream sees it, ms, {way:<20}  {quantiles(values)}")
    for problem in [*report.problems, *report.leftovers]:
        print(f"  PROBLEM  {problem}")
    if not report.problems and not report.leftovers:
        print("  ok")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def quantiles(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return f"n {len(ordered)}   p50 {p50:.2f}   p99 {p99:.2f}   max {ordered[-1]:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.storm")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=900, help="at most")
    parser.add_argument("--keep", type=Path, help="keep log and ledger in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relay-trio-storm-") as made:
        folder = options.keep or Path(made)
        os.makedirs(folder, exist_ok=True)

        async def run() -> Report:
            return await storm(
                folder, requests=options.requests, clients=options.clients, seed=options.seed, seconds=options.seconds
            )

        report = trio.run(run)
    print_report(report)
    return 1 if report.problems or report.leftovers else 0


if __name__ == "__main__":
    sys.exit(main())
