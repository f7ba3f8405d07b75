from __future__ import annotations

import gc
import resource
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.server import listen
from relay_trio.server.context import ServerState
from relay_trio.server.drain import Drain
from relay_trio.server.limits import ConnectionLimits, ListenSettings
from relay_trio.server.listen import most_connections, serve
from tests.server.h2_client import connect_h2
from tests.server.serving import Application, open_server
from tests.server.test_http1 import get

if TYPE_CHECKING:
    from pathlib import Path


async def test_lifespan_runs_around_everything() -> None:
    with trio.fail_after(5):
        app = Application()
        async with open_server(app) as served:
            await served.probe()
            assert app.lifespan == ["lifespan.startup"]
        assert app.lifespan == ["lifespan.startup", "lifespan.shutdown"]


async def test_more_connections_than_allowed_wait_in_the_kernel() -> None:
    with trio.fail_after(5):
        async with open_server(max_connections=2) as served:
            first, second, third = [await served.connect() for _ in range(3)]
            for busy in (first, second):
                await busy.send(get(b"hold"))
                await busy.until(b"first;")
            await third.send(get())
            with trio.move_on_after(0.2) as scope:
                await third.response()
            assert scope.cancelled_caught
            served.app.go.set()
            assert (await third.response())[0] == 200


async def test_the_connection_that_is_idle_longest_makes_room_for_another() -> None:
    with trio.fail_after(5):
        async with open_server(max_connections=3) as served:
            busy, first, second = [await served.connect() for _ in range(3)]
            await busy.send(get(b"hold"))
            await busy.until(b"first;")
            await first.exchange(get())
            await second.exchange(get())
            await first.exchange(get())
            third = await served.connect()
            assert (await third.exchange(get()))[0] == 200
            assert await second.sock.recv(1) == b""  # idle longest: the first has had a request since
            assert (await first.exchange(get()))[0] == 200
            served.app.go.set()
            await busy.until(b"last")


async def test_an_idle_http2_connection_makes_room_too() -> None:
    with trio.fail_after(5):
        async with open_server(max_connections=1) as served:
            client = await connect_h2(served)
            stream = await client.request("/")
            await client.pump(lambda: stream in client.ended)
            other = await served.connect()
            assert (await other.exchange(get()))[0] == 200
            await client.pump(lambda: client.goaway is not None)


def test_where_the_system_sets_no_limit_there_is_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "resource", None)
    assert most_connections() == 65_536


async def test_running_out_of_descriptors_pauses_accepting_and_recovers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with trio.fail_after(10):
        async with open_server(max_connections=10_000) as served:
            busy = await served.connect()
            await busy.send(get(b"hold"))
            await busy.until(b"first;")
            used = socket.socket()
            limit = used.fileno() + 12
            used.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            clients = []
            try:
                while True:
                    try:
                        clients.append(await served.connect())
                    except OSError:
                        break
                await trio.sleep(0.3)
            finally:
                for client in clients:
                    client.sock.close()
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await served.probe()
            served.app.go.set()
            await busy.until(b"last")


async def test_an_address_in_use_fails_before_anything_runs() -> None:
    app = Application()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ListenSettings(
            listeners=(
                "127.0.0.1:0",
                f"127.0.0.1:{taken.getsockname()[1]}",
            )
        )
        with pytest.raises(OSError, match="in use"):
            await serve(ServerState(app, ConnectionLimits(), print), settings, drain=Drain())
        gc.collect()  # a socket left open is a warning, which is an error here
    assert app.lifespan == []


async def test_a_unix_listener_serves(tmp_path: Path) -> None:
    drain, path = Drain(), tmp_path / "relay.sock"
    settings = ListenSettings(listeners=(f"unix:{path}",))
    state = ServerState(Application(), ConnectionLimits(), print)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain.run, 1)

            async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
                await serve(state, settings, drain=drain, task_status=task_status)

            await nursery.start(run)
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(get())
                assert (await stream.receive_some()).endswith(b"hello")
            drain.begin()
            await drain.began.wait()
            drain.stop_now()


def test_half_of_the_descriptors_are_for_clients() -> None:
    assert most_connections() >= 16
