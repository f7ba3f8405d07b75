"""Cancel at every checkpoint of a connection, and the ASGI calls that no conversation reaches."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.client_connection import admit, serve_connection
from relay_trio.server.context import REQUEST_KEY, ServerState
from relay_trio.server.limits import ConnectionLimits
from tests.explorer import Run, explore
from tests.server.h2_client import H2Client
from tests.server.serving import Application, Client, is_expected, open_server
from tests.server.test_http1 import get, post


class Stage:
    """One connection over a socket pair, its application and whoever speaks to it."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.app = Application()
        self.state = ServerState(self.app, ConnectionLimits(), self.errors.append, is_expected)
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.theirs = trio.socket.from_stdlib_socket(theirs)
        self.client = Client(trio.SocketStream(self.theirs), self.theirs)

    def check(self) -> None:
        assert self.state.connections == set()
        assert self.app.running == 0
        assert self.ours.fileno() == -1
        assert self.errors == []


CONVERSATIONS: dict[str, list[bytes]] = {
    "keep-alive": [get(b"hello"), post(b"echo", b"body")],
    "pipelined": [get(b"hello") + get(b"chunks") + get(b"hello", b"Connection: close\r\n")],
    "early reply": [b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nearly", b"rest" + get(b"hello")],
    "large": [get(b"slowflood")],
    "refused": [b"GET / HTTP/9.9\r\n\r\n"],
    "midway": [get(b"midway")],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_cancel_anywhere_closes_the_connection_and_ends_no_response_cleanly(name: str) -> None:
    """Nothing stays open, nothing is reported, and what the client has is a prefix of what it would have had."""
    whole: list[bytes] = []
    struck: list[bytes] = []

    async def scenario(run: Run) -> None:
        stage = Stage()

        received = b""
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                nonlocal received
                ended = False
                for part in CONVERSATIONS[name]:
                    try:
                        await stage.theirs.send(part)
                    except OSError:
                        break
                    with trio.move_on_after(1):
                        while not ended:
                            data = await _receive(stage)
                            received += data
                            ended = not data
                stage.theirs.close()

            nursery.start_soon(listen)
            with run.target():
                await serve_connection(admit(stage.ours, stage.state, None), stage.state)
        stage.check()
        undated = b"\r\n".join(line for line in received.split(b"\r\n") if not line.startswith(b"date:"))
        if not run.is_struck:
            whole.append(undated)
        else:
            struck.append(undated)

    # The last run of each exploration is the one that was not struck: its bytes are the whole.
    explore(scenario, autojump_threshold=0.005, max_steps=300)
    assert len(set(whole)) == 1
    for received in struck:
        end = received.rfind(b"HTTP/1.1 50")  # a 500 in place of an answer that had not begun
        assert whole[0].startswith(received if end < 0 else received[:end])


async def _receive(stage: Stage) -> bytes:
    try:
        return await stage.theirs.recv(65_536)
    except OSError:
        return b""


def test_cancel_anywhere_in_http2_closes_the_connection() -> None:
    async def scenario(run: Run) -> None:
        stage = Stage()

        async def speak() -> None:
            client = H2Client(stage.client)
            client.h2.initiate_connection()
            try:
                await client.flush()
                streams = [await client.request(path) for path in ("/hello", "/chunks", "/slowflood", "/midway")]
                streams.append(await client.request("/echo", b"body", "POST"))
                await client.pump(lambda: len(client.ended) + len(client.reset) == len(streams))
            except (EOFError, trio.BrokenResourceError):
                pass
            stage.theirs.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            with run.target():
                await serve_connection(admit(stage.ours, stage.state, None), stage.state)
        stage.check()

    explore(scenario, autojump_threshold=0.005, max_steps=300)


async def ask(app: Any, **kwargs: Any) -> tuple[int, bytes]:
    with trio.fail_after(5):
        async with open_server(app, may_report=True, **kwargs) as served, await served.connect() as client:
            status, _, body = await client.exchange(get())
            return status, body


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body", "body": b"x"}],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.start", "status": 200}],
        [{"type": "websocket.accept"}],
        [
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"x")]},
            {"type": "http.response.body"},
        ],
    ],
)
async def test_messages_out_of_order_are_errors_of_the_application(messages: list[dict[str, Any]]) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            for message in messages:
                await send(message)

    assert (await ask(app))[0] == 500


async def test_receive_after_the_response_says_disconnect() -> None:
    heard: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"done"})
            heard.append((await receive())["type"])

    assert await ask(app) == (200, b"done")
    assert heard == ["http.disconnect"]


async def test_a_disconnect_during_the_last_send_is_heard_after_it() -> None:
    """``disconnected_at`` is set at once; ``receive`` parks until the send returns (STACK 2.4)."""
    heard: list[tuple[str, bool]] = []
    sent = trio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                heard.append(((await receive())["type"], sent.is_set()))

            nursery.start_soon(watch)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * 3_000_000})
            sent.set()
            assert scope[REQUEST_KEY].disconnect_reason == DisconnectReason.LEFT

    with trio.fail_after(10):
        async with open_server(app) as served:
            for _ in range(12):  # both wake in one turn of the scheduler, which shuffles them
                sent = trio.Event()
                client = await served.connect(rcvbuf=4096)
                await client.send(get())
                await trio.sleep(0.05)
                client.reset()
                await sent.wait()
                await trio.sleep(0.01)
    assert heard == [("http.disconnect", True)] * 12


async def test_send_after_the_loss_does_nothing_and_lets_others_run() -> None:
    rounds = 0

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal rounds
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            with trio.move_on_after(0.3):
                while True:
                    await send({"type": "http.response.body", "body": b"x", "more_body": True})
                    rounds += scope[REQUEST_KEY].disconnected_at is not None
                    await trio.lowlevel.checkpoint_if_cancelled()
                    if not rounds:
                        await trio.sleep(0.01)

    with trio.fail_after(5):
        async with open_server(app) as served:
            async with await served.connect() as client:
                await client.send(get())
                await client.more()
            await trio.sleep(0.4)
    assert rounds > 10
