"""From a client's hanging up to what it frees: measured on real sockets, for each phase and each way to leave.

``python -m tests.e2e.close_latency`` prints the table. *closed*: the upstream saw its connection end; where there is no
upstream yet, or none that answers, it is left out. *settled*: the relay has given the place in the queue or the slot
back and closed the row. Milliseconds, ``time.monotonic()``, all parties in one process, one request at a time.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from relay_trio.app import App, Bound, open_relay, run_relay
from relay_trio.config import Settings
from relay_trio.demo.http_client import Way, open_client
from relay_trio.outcome import Phase
from relay_trio.relay.events import Observer
from relay_trio.server.drain import Drain
from relay_trio.simulator import Simulator, SimulatorSettings, open_simulator
from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.claude.samples import messages
from tests.e2e.storm import KEY, quantiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from relay_trio.demo.http_client import HttpClient
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.relay.live import LiveRequest

_LIMIT_SECONDS = 2.0
"""Longer than this is never."""

_NEVER_AT_MOST = 3
"""So often "never" in one cell is an answer."""

_POLL_SECONDS = 0.001


class Moment(Enum):
    """The phase to leave in; the value is the model that leads there."""

    QUEUED = "one-slot:fault=silent"
    CONNECTING = "unreachable"
    HEAD = "main:fault=silent"
    CHUNKS = "main:chunks=2000,pace=0.02"
    MID_WRITE = "main:chunks=4000,chars=1000"


@dataclass(slots=True)
class Cell:
    """One moment and way: milliseconds each, and how often nothing happened within the limit."""

    closed: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    never: int = 0


@contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener whose accept queue is full, so that connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", port))
            time.sleep(0.05)
            yield port
        finally:
            for filler in fillers:
                filler.close()


class Bench:
    """App, simulator, and a client that leaves."""

    def __init__(self, relay: App, simulator: Simulator, bound: Bound, settled: dict[str, float]) -> None:
        host, _, port = bound.client_urls[0].rpartition("/")[2].rpartition(":")
        self._address = (host, int(port))
        self._relay = relay
        self._simulator = simulator
        self._settled = settled
        self._number = 0

    async def measure(self, moment: Moment, way: Way, count: int) -> Cell:
        """Leave ``count`` times. Cancelled here: destroys."""
        cell = Cell()
        blocker = None
        if moment is Moment.QUEUED:
            blocker, blocker_id = await self._begin(moment, "blocker")
            await self._until(lambda: self._phase(blocker_id) is Phase.HEAD)
        for _ in range(count):
            await self._once(moment, way, cell)
            if cell.never >= _NEVER_AT_MOST:
                break
        if blocker is not None:
            blocker.reset()
        await self._relay.core.live.wait_idle(_LIMIT_SECONDS)
        return cell

    async def _once(self, moment: Moment, way: Way, cell: Cell) -> None:
        """Cancelled here: destroys."""
        client, request_id = await self._begin(moment, "leaver")
        await self._arrive(moment, client, request_id)
        left_at = time.monotonic()
        client.leave(way)
        with trio.move_on_after(_LIMIT_SECONDS) as limit:
            await self._until(lambda: request_id in self._settled)
            if moment in (Moment.HEAD, Moment.CHUNKS, Moment.MID_WRITE):
                record = self._simulator.truth.tagged(request_id)[0]
                await self._until(lambda: record.client_closed_at is not None)
                assert record.client_closed_at is not None
                cell.closed.append((record.client_closed_at - left_at) * 1000)
            cell.settled.append((self._settled[request_id] - left_at) * 1000)
        cell.never += limit.cancelled_caught
        if way is Way.HALF_CLOSE:
            client.reset()
        await self._until(lambda: request_id in self._settled)

    async def _begin(self, moment: Moment, role: str) -> tuple[HttpClient, str]:
        """Cancelled here: destroys."""
        self._number += 1
        request_id = f"{role}-{self._number}"
        client = await open_client(self._address, receive_buffer_bytes=1 if moment is Moment.MID_WRITE else None)
        model = moment.value + (f",tag={request_id}" if ":" in moment.value else "")
        request = messages(Prompt("hi", 10_000, KEY, model=model))
        await client.send(b"".join(request.encoded(("x-request-id", request_id))))
        return client, request_id

    async def _arrive(self, moment: Moment, client: HttpClient, request_id: str) -> None:
        """Until the request is where it is to be left. Cancelled here: safe to retry."""
        match moment:
            case Moment.QUEUED:
                await self._until(lambda: self._relay.core.admission.statistics().waiting == 1)
            case Moment.CONNECTING:
                await self._until(lambda: self._phase(request_id) is Phase.CONNECTING)
                await trio.sleep(0.005)
            case Moment.HEAD:
                await self._until(lambda: bool(self._simulator.truth.tagged(request_id)))
            case Moment.CHUNKS:
                answer = await client.receive_head()
                assert answer is not None
                for _ in range(4):
                    await client.receive_part(answer)
                await trio.sleep(0.005)
            case Moment.MID_WRITE:
                await self._until(lambda: self._is_full(request_id))

    def _live_request(self, request_id: str) -> LiveRequest | None:
        return next((live for live in self._relay.core.live if live.row.client_request_id == request_id), None)

    def _phase(self, request_id: str) -> Phase | None:
        request = self._live_request(request_id)
        return request.phase if request is not None else None

    def _is_full(self, request_id: str) -> bool:
        request = self._live_request(request_id)
        return request is not None and request.response.held_bytes >= request.response.limit_bytes

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Cancelled here: atomic."""
        with trio.fail_after(30):
            while True:
                if condition():
                    return
                await trio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def open_bench(folder: Path) -> AsyncIterator[Bench]:
    """App and simulator, listening. Cancelled here: destroys."""
    settled: dict[str, float] = {}

    class Times(Observer):
        def request_settled(self, row: LedgerRow) -> None:
            settled[row.client_request_id] = time.monotonic()

    with full_listener() as port:
        async with open_simulator(SimulatorSettings(keep_bodies=False)) as simulator:
            settings = _settings(folder, simulator.base_url, f"http://127.0.0.1:{port}")
            async with open_relay(settings, observers=[Times()]) as relay, trio.open_nursery() as nursery:
                drain = Drain()
                bound: Bound = await nursery.start(run_relay, relay, drain)
                yield Bench(relay, simulator, bound, settled)
                drain.begin()


def _settings(folder: Path, base_url: str, unreachable_url: str) -> Settings:
    accounts = (
        ("one-slot", base_url, 1, "one-slot*"),
        ("unreachable", unreachable_url, 10, "unreachable*"),
        ("main", base_url, 10, "main*"),
    )
    return Settings.model_validate(
        {
            "server": {"listeners": ["127.0.0.1:0"], "ledger": str(folder / "relay.db"), "drain_seconds": 0.5},
            "admin": {"listener": "127.0.0.1:0"},
            "timeouts": {"connect_timeout_seconds": 20},
            "account": [
                {
                    "name": name,
                    "provider": "anthropic",
                    "api_key": f"sk-{name}",
                    "base_url": url,
                    "max_concurrency": slots,
                    "models": [pattern],
                }
                for name, url, slots, pattern in accounts
            ],
            "key": [{"name": "bench", "secret": KEY}],
        }
    )


def print_cell(moment: Moment, way: Way, cell: Cell) -> None:
    """One line for the upstream's view, one for the relay's."""
    never = f"   NEVER {cell.never}" if cell.never else ""
    print(f"  {moment.name:<10} {way.name:<10}  settled  {quantiles(cell.settled)}{never}")
    if cell.closed:
        print(f"  {'':<10} {'':<10}  closed   {quantiles(cell.closed)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.close_latency")
    parser.add_argument("--count", type=int, default=100)
    count = parser.parse_args().count

    async def run(folder: Path) -> int:
        never = 0
        async with open_bench(folder) as bench:
            for moment in Moment:
                for way in Way:
                    cell = await bench.measure(moment, way, count)
                    print_cell(moment, way, cell)
                    never += cell.never
        return never

    print("milliseconds from the client's leaving")
    with tempfile.TemporaryDirectory(prefix="relay-trio-latency-") as folder:
        return 1 if trio.run(run, Path(folder)) else 0


if __name__ == "__main__":
    sys.exit(main())
