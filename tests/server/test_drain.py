"""Signals and drain, in a process of its own where signals are involved."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.server.drain import CLOSING_SECONDS, Drain
from tests.server.serving import Client, open_server
from tests.server.test_http1 import get

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROGRAM = textwrap.dedent(
    """
    import sys, trio
    from relay_trio.server.drain import Drain, obey_signals
    from relay_trio.server.context import ServerState
    from relay_trio.server.limits import ConnectionLimits, ListenSettings
    from relay_trio.server.listen import serve
    from tests.server.serving import Application

    async def main():
        drain, app = Drain(), Application()
        state = ServerState(app, ConnectionLimits(), print)
        settings = ListenSettings(("127.0.0.1:0",))

        async def run(*, task_status):
            await serve(state, settings, drain=drain, task_status=task_status)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            await nursery.start(obey_signals, drain)
            nursery.start_soon(drain.run, float(sys.argv[1]))
            urls = await nursery.start(run)
            print(urls[0].rsplit(":", 1)[1], flush=True)
        print("rows open:", app.running, "lifespan:", app.lifespan[-1], flush=True)

    trio.run(main)
    """
)


class Process:
    def __init__(self, drain_seconds: float) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(drain_seconds)], stdout=subprocess.PIPE, text=True
        )
        assert self.popen.stdout is not None
        self.port = int(self.popen.stdout.readline())
        self.sockets: list[trio.SocketStream] = []

    async def connect(self) -> Client:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.sockets.append(stream)
        return Client(stream, stream.socket)

    def signal(self, number: signal.Signals) -> float:
        self.popen.send_signal(number)
        return time.monotonic()

    async def exit(self) -> str:
        """Wait for the end; returns what the process said last."""
        while self.popen.poll() is None:  # noqa: ASYNC110 - another process has no event
            await trio.sleep(0.01)
        assert self.popen.returncode == 0
        assert self.popen.stdout is not None
        return self.popen.stdout.read()


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = Process(1.0)
    yield process
    process.popen.kill()
    process.popen.wait()
    if process.popen.stdout:
        process.popen.stdout.close()
    for stream in process.sockets:
        stream.socket.close()


@pytest.mark.e2e
async def test_sigterm_stops_accepting_and_lets_streams_finish(process: Process) -> None:
    with trio.fail_after(10):
        idle, busy = await process.connect(), await process.connect()
        await idle.exchange(get())
        await busy.send(get(b"slowflood"))
        await busy.until(b"\r\n\r\n")
        at = process.signal(signal.SIGTERM)
        assert await idle.rest() == b""
        assert time.monotonic() - at < 0.1
        with pytest.raises(OSError, match="all attempts"):
            await process.connect()
        assert time.monotonic() - at < 0.15
        assert (await busy.rest()).endswith(b"0\r\n\r\n")
        await busy.stream.aclose()
        assert "rows open: 0 lifespan: lifespan.shutdown" in await process.exit()
        assert time.monotonic() - at < 1.0


@pytest.mark.e2e
async def test_the_process_is_gone_two_seconds_after_the_drain_whatever_clients_do(process: Process) -> None:
    with trio.fail_after(10):
        for request in (get(b"wait"), get(b"streamwait"), get(b"flood"), get(b"flood") + b"\r\n", b"GET / HT", b""):
            client = await process.connect()
            await client.send(request)
        await trio.sleep(0.3)
        at = process.signal(signal.SIGTERM)
        assert "rows open: 0" in await process.exit()
        assert 1.0 < time.monotonic() - at < 1.0 + 2.0


@pytest.mark.e2e
@pytest.mark.parametrize(
    "numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT)]
)
async def test_a_second_signal_stops_at_once(process: Process, numbers: tuple[signal.Signals, ...]) -> None:
    with trio.fail_after(10):
        for request in (get(b"wait"), get(b"flood")):
            client = await process.connect()
            await client.send(request)
        await trio.sleep(0.2)
        for number in numbers:
            at = process.signal(number)
            await trio.sleep(0.05)
        assert "rows open: 0 lifespan: lifespan.shutdown" in await process.exit()
        assert time.monotonic() - at < 0.8


async def test_the_drain_goes_through_its_moments(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain.run, 100)
        await trio.sleep(5)
        assert not drain.began.is_set()
        started = trio.current_time()
        drain.begin()
        await drain.expired.wait()
        assert trio.current_time() - started == pytest.approx(100)
        assert not drain.stopped.is_set()
        await drain.stopped.wait()
        assert trio.current_time() - started == pytest.approx(100 + CLOSING_SECONDS)


async def test_stop_now_skips_the_waiting(autojump_clock: trio.testing.MockClock) -> None:
    for begin_first in (False, True):
        drain = Drain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain.run, 100)
            if begin_first:
                drain.begin()
                await trio.sleep(1)
            started = trio.current_time()
            drain.stop_now()
            await drain.stopped.wait()
            assert trio.current_time() - started < 0.2


async def test_a_response_that_begins_in_a_drain_closes_its_connection() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(get(b"nobody"))
            await served.app.until(lambda: served.app.running == 1)
            served.drain.begin()
            await trio.sleep(0.05)
            served.app.go.set()
            status, fields, _ = await client.response()
            assert (status, fields[b"connection"]) == (200, b"close")
            assert await client.rest() == b""
            client.sock.close()
            await served.finished.wait()


async def test_the_last_word_reaches_the_client_after_expiry() -> None:
    """An application that hears of ``expired`` has time for an event in its dialect; the cut follows."""
    with trio.fail_after(5):
        drains: list[Drain] = []

        async def app(scope: dict, receive: object, send: object) -> None:
            if scope["type"] == "lifespan":
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b"data", "more_body": True})  # type: ignore[operator]
            await drains[0].expired.wait()
            await send({"type": "http.response.body", "body": b"event: error", "more_body": True})  # type: ignore[operator]

        async with open_server(app, drain_seconds=0.2) as served, await served.connect() as client:
            drains.append(served.drain)
            await client.send(get())
            await client.until(b"data")
            served.drain.begin()
            received = await client.rest()
            assert b"event: error" in received
            assert not received.endswith(b"0\r\n\r\n")
