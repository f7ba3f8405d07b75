"""The simulator: a listener on a real socket, its connections, and the accounts of what they do.

    async with open_simulator(SimulatorSettings(chunks=50, chunk_interval_seconds=0.01)) as simulator:
        ... simulator.base_url ...

What is answered is a matter of the vendors in ``vendors``, what goes wrong one of ``faults``, how a single request
overrides either one of ``plan``.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import trio

from relay_trio.simulator import inspection
from relay_trio.simulator.connection import Connection
from relay_trio.simulator.delivery import perform
from relay_trio.simulator.faults import SpecError, parse_rates
from relay_trio.simulator.ids import new_id
from relay_trio.simulator.plan import check_spec, settle
from relay_trio.simulator.settings import SimulatorSettings
from relay_trio.simulator.truth import ServedRequest, Truth
from relay_trio.simulator.vendors.registry import new_providers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.provider import Call, Provider
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.script import Script

_BACKLOG = 4096


@asynccontextmanager
async def open_simulator(settings: SimulatorSettings | None = None) -> AsyncIterator[Simulator]:
    """A simulator that listens and serves until the block is left; then every connection is closed at once.

    Raises:
        OSError: the port is taken.
        SpecError: ``settings.faults`` cannot be read.

    Cancelled here: destroys; everything is closed, and nothing of it runs on.
    """
    simulator = Simulator(settings or SimulatorSettings())
    simulator.accept()
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(simulator.run)
            try:
                yield simulator
            except Exception as error:  # of the block: raised again as it is, not in a group
                failure = error
            finally:
                nursery.cancel_scope.cancel()
    finally:
        simulator.refuse()
        if failure is not None:
            raise failure  # not lost to a cancellation that came meanwhile


class Simulator:
    """Made by ``open_simulator``."""

    def __init__(self, settings: SimulatorSettings) -> None:
        if settings.faults:
            parse_rates(settings.faults)
        self.settings = settings
        self.truth = Truth()
        self.port = settings.port
        self.live_requests = 0
        """Requests that are being answered now."""
        self._providers = new_providers(settings)
        self._rng = Random(settings.seed)
        self._connections: set[Connection] = set()
        self._account_specs: dict[str, str] = {}
        self._next_specs: deque[str] = deque()
        self._listener: socket.socket | None = None
        self._listening = trio.Event()
        self._waiters = trio.lowlevel.ParkingLot()

    @property
    def base_url(self) -> str:
        return f"http://{self.settings.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """Sockets open now, idle or not."""
        return len(self._connections)

    # --- control --------------------------------------------------------------------------------------------------

    def plan_account(self, credential: str, spec: str) -> None:
        """From now on, ``spec`` for every request with this credential; empty for none.

        Raises:
            SpecError: ``spec`` cannot be read.
        """
        check_spec(spec)
        self._account_specs[credential] = spec

    def plan_next(self, *specs: str) -> None:
        """One spec for each of the next requests to arrive, after those already planned.

        Raises:
            SpecError: one of ``specs`` cannot be read; then none of them is planned.
        """
        for spec in specs:
            check_spec(spec)
        self._next_specs.extend(specs)

    def refuse(self) -> None:
        """Stop listening: connects are refused, open connections live on."""
        listener, self._listener = self._listener, None
        self._listening = trio.Event()
        if listener is not None:
            trio.lowlevel.notify_closing(listener)
            listener.close()

    def accept(self) -> None:
        """Listen again, on the same port as before.

        Raises:
            OSError: somebody else took the port.
        """
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((self.settings.host, self.port))
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._listening.set()

    # --- waiting, for tests ---------------------------------------------------------------------------------------

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition()`` holds; looked at again whenever a connection or a request begins or ends, or a
        head was sent.

        Cancelled here: safe to retry; nothing changes.
        """
        while not condition():
            await self._waiters.park()
        await trio.lowlevel.checkpoint()

    async def wait_idle(self) -> None:
        """Return once no request is being answered, which is at once if none has arrived yet.

        Cancelled here: safe to retry; nothing changes.
        """
        await self.wait_until(lambda: self.live_requests == 0)

    async def wait_served(self, count: int) -> None:
        """Return once ``count`` requests have arrived since the truth was cleared.

        Cancelled here: safe to retry; nothing changes.
        """
        await self.wait_until(lambda: len(self.truth.records) >= count)

    async def wait_disconnected(self) -> None:
        """Return once no connection is open. Cancelled here: safe to retry; nothing changes."""
        await self.wait_until(lambda: not self._connections)

    def _notify(self) -> None:
        if self._waiters:
            self._waiters.unpark_all()

    # --- serving --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Accept and serve. Never returns. Cancelled here: destroys; all connections are closed."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._listening.wait()
                listener = self._listener
                if listener is None:
                    continue
                try:
                    await trio.lowlevel.wait_readable(listener)
                    sock, _ = listener.accept()
                except (trio.ClosedResourceError, BlockingIOError, ConnectionAbortedError):
                    continue
                except OSError:
                    await trio.sleep(0.05)  # out of file descriptors, or closed by refuse() a moment ago
                    continue
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.truth.connections_accepted += 1
                connection = Connection(sock, self.truth.connections_accepted, self.settings)
                self._connections.add(connection)
                self._notify()
                nursery.start_soon(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        """One connection from accept to close. Cancelled here: destroys; it is closed."""
        try:
            await connection.run(self._answer)
        finally:
            self._connections.discard(connection)
            self._notify()

    async def _answer(self, connection: Connection, request: Request) -> bool:
        """Answer one request; return whether the connection goes on. Cancelled here: destroys; the answer is cut."""
        has_body = request.method != "HEAD"
        limit = self.settings.requests_per_connection
        is_last = not request.is_kept_alive or (limit is not None and connection.served >= limit)
        record = self._open(connection, request)
        if inspection.serves(request):
            plan = settle(self.settings, (), Random(), draws_faults=False)
            script = inspection.answer(
                request, self.truth, live_requests=self.live_requests, open_connections=self.open_connections
            )
        else:
            plan, script = self._script(request, record)
            self.truth.records.append(record)
        self.live_requests += 1
        self._notify()
        goes_on = False
        try:
            goes_on = await perform(script, plan, connection, record, self._notify, has_body=has_body, is_last=is_last)
        except OSError:
            connection.client_closed_at = connection.client_closed_at or time.monotonic()
            raise
        finally:
            self.live_requests -= 1
            record.closed_at = time.monotonic()
            record.client_closed_at = connection.client_closed_at
            if not goes_on:
                record.closed_by = "simulator" if connection.client_closed_at is None else "client"
            self._notify()
        return goes_on

    def _open(self, connection: Connection, request: Request) -> ServedRequest:
        keeps = self.settings.keep_bodies
        return ServedRequest(
            request_id=new_id("req"),
            method=request.method,
            target=request.target,
            headers=request.headers if keeps else [],
            body=request.body if keeps else b"",
            opened_at=time.monotonic(),
            connection_id=connection.number,
        )

    def _script(self, request: Request, record: ServedRequest) -> tuple[Plan, Script]:
        provider = next(provider for provider in self._providers if provider.serves(request))
        call = provider.read(request)
        record.credential, record.model, record.is_stream = call.credential, call.model, call.is_stream
        try:
            plan = settle(self.settings, self._specs(call), self._rng, draws_faults=call.is_generation)
            return plan, self._faulty_script(provider, call, plan, record)
        except SpecError as error:
            plan = settle(self.settings, (), self._rng, draws_faults=False)
            return plan, provider.error(400, f"simulator: {error}", record.request_id)

    def _faulty_script(self, provider: Provider, call: Call, plan: Plan, record: ServedRequest) -> Script:
        record.tag, record.fault = plan.tag, plan.fault_label
        status = next((fault for fault in plan.fault if fault.status is not None), None)
        if status is not None and status.status is not None:
            message = f"simulated {status.status}"
            script = provider.error(status.status, message, record.request_id, status.retry_after, status.kind)
            script.delay = plan.delay
        else:
            script = provider.answer(call, plan, record.request_id)
        for fault in plan.fault:
            fault.apply(script, plan.rng, call.dialect or provider)
        return script

    def _specs(self, call: Call) -> list[str]:
        specs = [self._account_specs.get(call.credential or "", ""), *call.specs]
        if self._next_specs:
            specs.append(self._next_specs.popleft())
        return specs
