"""``relay-trio demo``: simulated upstreams, a real relay, and clients half of which hang up. The smoke test, too.

::

    one process ── simulator (every vendor it has; faults)     real TCP sockets on loopback between all three
                ── relay (an account for each, ledger in a temporary folder)
                ── clients (``traffic``) ── leave by FIN, RST, half-close; queued, waiting, in mid-stream

It ends with an account of itself: no slot held, no upstream socket in use, exactly one row for each request, and the
tokens of the rows are those that were served. Otherwise it says what is wrong, and exits with 1.

``--seconds`` is how long clients make requests; the last of these then have ``_LAST_REQUESTS_SECONDS``.
"""

import random
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter
from cyclopts.validators import Number

from relay_trio.app import App, Bound, open_relay, run_relay
from relay_trio.config import Settings
from relay_trio.demo.audit import audit, read_rows
from relay_trio.demo.clients import DemoClient, Sent
from relay_trio.demo.ports import PortUnusable, listen
from relay_trio.demo.report import end_lines, start_lines
from relay_trio.demo.table import AccountTable, show
from relay_trio.demo.traffic import ACCOUNTS, FORMS, KEY, draw_request
from relay_trio.ledger.row import LedgerRow
from relay_trio.relay.events import Observer
from relay_trio.server.drain import Drain
from relay_trio.simulator import ServedRequest, Simulator, SimulatorSettings, SpecError, open_simulator
from relay_trio.simulator.faults import parse_rates

_PORT = 8400
_ADMIN_PORT = 8401
_A_PORT = Number(gte=0, lte=65535)
_FIRST_BYTE_SECONDS = 10.0
_IDLE_SECONDS = 2.0
"""An upstream that stalls is given up so soon that it can be seen within a demo."""

_LAST_REQUESTS_SECONDS = 2.0
"""For requests that run when the time is up; after it their clients hang up."""

_SETTLE_SECONDS = 2.0
"""After the last client is gone: what is still held then is held for ever."""


@dataclass(slots=True)
class _Plan:
    seconds: float
    clients: int
    disconnect: float
    fault: str
    seed: int
    folder: Path
    clients_socket: socket.socket
    admin_socket: socket.socket


@dataclass(slots=True)
class _Result:
    """``traffic_seconds``: how long clients made requests; ``last_seconds``: how long the last of these went on then.
    ``leaks``: what was still held ``_SETTLE_SECONDS`` after the last request."""

    traffic_seconds: float = 0.0
    last_seconds: float = 0.0
    leaks: list[str] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    served: list[ServedRequest] = field(default_factory=list)
    settled: int = 0


def demo(
    *,
    seconds: Annotated[float, Parameter(help="How long; Ctrl-C ends it earlier.", validator=Number(gt=0))] = 20.0,
    clients: Annotated[int, Parameter(help="Clients at a time.", validator=Number(gte=1, lte=1000))] = 40,
    disconnect: Annotated[
        float, Parameter(help="Share of the requests that are hung up on.", validator=Number(gte=0, lte=1))
    ] = 0.5,
    fault: Annotated[
        str, Parameter(help="Upstream faults and how often each: 429:0.02,stall:0.01; or none.")
    ] = "429:0.02,stall:0.01,reset:0.01",
    seed: Annotated[int | None, Parameter(help="Makes clients and faults draw alike again.")] = None,
    port: Annotated[
        int | None, Parameter(help="For clients; unless given, 8400 or a free one.", validator=_A_PORT)
    ] = None,
    admin_port: Annotated[
        int | None, Parameter(help="For operators; unless given, 8401 or a free one.", validator=_A_PORT)
    ] = None,
) -> int:
    """Run a relay between simulated upstreams and clients that hang up, and account for every slot and token."""
    fault = "" if fault == "none" else fault
    try:
        if fault:
            parse_rates(fault)
    except SpecError as error:
        print(f"--fault: {error}", file=sys.stderr)
        return 2
    seed = secrets.randbelow(10**6) if seed is None else seed
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-trio-demo-")))
        try:
            sockets = [
                stack.enter_context(listen(option, chosen, usual))
                for option, chosen, usual in (("--port", port, _PORT), ("--admin-port", admin_port, _ADMIN_PORT))
            ]
        except PortUnusable as error:
            print(error, file=sys.stderr)
            return 1
        for sock, chosen, usual in zip(sockets, (port, admin_port), (_PORT, _ADMIN_PORT), strict=True):
            if chosen is None and sock.getsockname()[1] != usual:
                print(f"port {usual} is taken, so the demo uses another", file=sys.stderr)
        result = trio.run(_run, _Plan(seconds, clients, disconnect, fault, seed, folder, *sockets))
        if result is None:
            print("stopped before the closing checks", file=sys.stderr)
            return 1
        rows = read_rows(folder / "relay.db")
    found = audit(result.sent, rows, result.served)
    problems = [*result.leaks, *found.problems]
    if result.settled != len(rows):
        problems.append(f"{result.settled} requests were settled, but the ledger has {len(rows)} rows")
    lines = end_lines(
        found,
        problems,
        traffic_seconds=result.traffic_seconds,
        last_seconds=result.last_seconds,
        faults=fault,
        others=len(rows) - found.rows,
    )
    print("\n".join(lines))
    return 1 if problems else 0


class _Settled(Observer):
    """Counts the requests that ended, and keeps the ids that their clients gave them."""

    def __init__(self, table: AccountTable, result: _Result) -> None:
        self.ids: set[str] = set()
        self._table = table
        self._result = result

    def request_settled(self, row: LedgerRow) -> None:
        self._table.settled(row)
        self.ids.add(row.client_request_id)
        self._result.settled += 1


async def _run(plan: _Plan) -> _Result | None:
    """The demo up to the point where everything is closed; None if it was stopped twice.

    Cancelled here: destroys.
    """
    result, table = _Result(), AccountTable()
    settled = _Settled(table, result)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as everything:
        stop = trio.Event()
        async with open_simulator(SimulatorSettings(seed=plan.seed, faults=plan.fault, keep_bodies=False)) as simulator:
            for account in ACCOUNTS:
                simulator.plan_account(account.credential, account.pace)
            settings = _settings(plan, simulator)
            async with open_relay(settings, observers=[settled]) as relay, trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, signals, stop, everything)
                await _serve(plan, relay, table, settled.ids, stop, result)
                nursery.cancel_scope.cancel()
            await _check_closed(simulator, result)
            result.served = simulator.truth.records
    return None if everything.cancelled_caught else result


async def _serve(
    plan: _Plan, relay: App, table: AccountTable, settled: set[str], stop: trio.Event, result: _Result
) -> None:
    """Listen, let the clients run, look what is left, stop listening. Cancelled here: destroys."""
    drain = Drain()
    async with trio.open_nursery() as nursery:
        run = partial(run_relay, client_sockets=(plan.clients_socket,), admin_sockets=(plan.admin_socket,))
        bound: Bound = await nursery.start(run, relay, drain)
        print("\n".join(start_lines(bound, plan.seed)), flush=True)
        async with trio.open_nursery() as display:
            display.start_soon(show, table, relay.core)
            await _let_clients_run(plan, relay, bound, settled, stop, result)
            await relay.core.live.wait_idle(_SETTLE_SECONDS)
            display.cancel_scope.cancel()
        drain.begin()
    _check_idle(relay, result)


async def _let_clients_run(
    plan: _Plan, relay: App, bound: Bound, settled: set[str], stop: trio.Event, result: _Result
) -> None:
    """Clients until the time is up or ``stop``; then to the end of their last requests. Cancelled here: destroys."""
    host, _, port = bound.client_urls[0].rpartition("/")[2].rpartition(":")
    address = (host, int(port))

    def is_admitted(request_id: str) -> bool:
        return request_id in settled or any(live.row.client_request_id == request_id for live in relay.core.live)

    members = [
        DemoClient(
            number,
            partial(draw_request, form),
            address,
            random.Random(f"{plan.seed} {number}"),
            plan.disconnect,
            is_admitted,
        )
        for number, form in zip(range(plan.clients), cycle(FORMS), strict=False)
    ]
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for client in members:
            nursery.start_soon(client.run, stop)
        with trio.move_on_after(plan.seconds):
            await stop.wait()
        stop.set()
        stopped = trio.current_time()
        nursery.cancel_scope.deadline = stopped + _LAST_REQUESTS_SECONDS
    result.traffic_seconds = stopped - started
    result.last_seconds = trio.current_time() - stopped
    result.sent = [sent for client in members for sent in client.sent]


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event, everything: trio.CancelScope) -> None:
    """First signal: end in good order. Second: at once. Cancelled here: atomic."""
    async for _ in signals:
        if stop.is_set():
            everything.cancel()
        stop.set()


def _check_idle(relay: App, result: _Result) -> None:
    core = relay.core
    queue, upstream = core.admission.statistics(), core.client.statistics()
    held = {
        "slots held": core.pool.slots.total_in_use(),
        "requests live": len(core.live),
        "requests in the queue": queue.waiting,
        "upstream sockets in use": upstream.open_connections - upstream.idle_connections,
        "upstream calls": upstream.calls,
    }
    result.leaks += [f"{what} after the last request: {count}" for what, count in held.items() if count]


async def _check_closed(simulator: Simulator, result: _Result) -> None:
    """The upstream's own view, with the relay gone. Cancelled here: atomic."""
    with trio.move_on_after(_SETTLE_SECONDS):
        await simulator.wait_disconnected()
    if simulator.live_requests or simulator.open_connections:
        result.leaks.append(
            f"the upstream still has {simulator.open_connections} connections and {simulator.live_requests} requests"
        )


def _settings(plan: _Plan, simulator: Simulator) -> Settings:
    addresses = (plan.clients_socket.getsockname(), plan.admin_socket.getsockname())
    listeners = [f"{host}:{port}" for host, port in addresses]
    return Settings.model_validate(
        {
            "server": {"listeners": listeners[:1], "ledger": str(plan.folder / "relay.db"), "drain_seconds": 1},
            "admin": {"listener": listeners[1]},
            "timeouts": {
                "first_byte_timeout_seconds": _FIRST_BYTE_SECONDS,
                "whole_answer_timeout_seconds": _FIRST_BYTE_SECONDS,
                "idle_timeout_seconds": _IDLE_SECONDS,
            },
            "account": [account.table(simulator.base_url) for account in ACCOUNTS],
            "key": [{"name": "demo", "secret": KEY}],
        }
    )
