"""The barrier: whatever one connection sends, the server answers the next."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import pytest
import trio
import trio.lowlevel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay_trio.server.client_connection import ClientConnection, admit, serve_connection
from relay_trio.server.context import ServerState
from relay_trio.server.h2_frames import HTTP_1_1_REQUIRED, PREFACE
from relay_trio.server.limits import ConnectionLimits
from tests.server.h2_client import connect_h2
from tests.server.serving import Application, is_expected, open_server
from tests.server.test_http1 import get, post

WEBSOCKET = get(
    b"wait",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
)
CRASH_INPUTS = {
    "websocket upgrade and one byte": WEBSOCKET + b"x",
    "malformed chunk header": b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "negative chunk": b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "upgrade h2c": get(b"wait", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !!!\r\n"),
    "preface and garbage": PREFACE + b"\xff" * 1000,
    "half a preface": PREFACE[:10],
    "preface of another version": b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n",
    "nul bytes": b"\0" * 5000,
    "nothing": b"",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", CRASH_INPUTS)
async def test_a_crash_input_of_the_stock_server_harms_nobody(name: str, tls: bool) -> None:
    """STACK 2.3: each with the client staying, half-closing and resetting, beside a stream that must go on."""
    with trio.fail_after(10):
        async with open_server(tls=tls, head_timeout_seconds=0.3) as served:
            bystander = await served.connect()
            await bystander.send(get(b"hold"))
            for way in ("stays", "half-closes", "resets"):
                client = await served.connect()
                await client.send(CRASH_INPUTS[name])
                await trio.sleep(0.01)
                if way == "half-closes":
                    client.close_sending()
                elif way == "resets":
                    client.reset()
                await served.probe()
                client.sock.close()
            served.app.go.set()
            assert (await bystander.response())[2] == b"first;last"


@pytest.mark.parametrize("tls", [False, True])
async def test_http2_is_refused_in_its_own_words_when_it_is_off(tls: bool) -> None:
    """SETTINGS, then GOAWAY(13): the one answer that Node's client reports as what it is (STACK 2.5)."""
    with trio.fail_after(5):
        async with open_server(tls=tls, http2=False, linger_seconds=0.2) as served:
            client = await connect_h2(served)
            with pytest.raises(EOFError):
                await client.pump(lambda: False)
            assert client.goaway == HTTP_1_1_REQUIRED
            await served.probe()


async def test_a_preface_in_pieces_is_recognised() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            for byte in PREFACE + b"\0\0\0\x04\0\0\0\0\0":
                await client.send(bytes([byte]))
            await client.more()
            assert client.buffer[3] == 4  # SETTINGS


async def test_the_scope_says_what_was_asked() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.exchange(get(b"hello/a%20b%2Fc?q=%20"))
            scope = served.app.scopes[0]
            assert scope["raw_path"] == b"/hello/a%20b%2Fc"
            assert scope["path"] == "/hello/a b/c"
            assert scope["query_string"] == b"q=%20"
            assert scope["headers"] == [(b"host", b"a")]
            assert (scope["scheme"], scope["http_version"], scope["method"]) == ("http", "1.1", "GET")


async def test_an_exception_of_the_connection_layer_itself_stays_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 0.1: in the stock server it reached the nursery of all connections."""

    async def fail(self: ClientConnection) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("a defect of ours")

    monkeypatch.setattr(ClientConnection, "run", fail)
    heard: list[BaseException] = []
    state = ServerState(Application(), ConnectionLimits(), heard.append)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        await serve_connection(admit(ours, state, None), state)
    assert (len(heard), state.contained, state.connections) == (1, 1, set())
    assert ours.fileno() == -1


# --- fuzz: mutated and split requests into a connection over a socket pair ---

SEEDS = [
    get(b"hello"),
    post(b"echo", b"body"),
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    get(b"chunks", b"Connection: close\r\n") + get(b"hello"),
    post(b"early", b"x" * 50),
    WEBSOCKET + b"x",
    b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    PREFACE + b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x05\x01\x05\0\0\0\x01\x82\x86\x84\x41\x61",
    PREFACE + b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x08\x06\0\0\0\0\0abcdefgh" + b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
]


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "repeat"]))
        if kind == "insert":
            data[at:at] = draw(st.sampled_from([b"\r\n", b"\n", b"\0", b" ", b":", b"\xff", b"0\r\n\r\n", b"\r\n "]))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 10))]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 60))]
        elif at < len(data):
            data[at] = draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    edges = [0, *cuts, len(data)]
    return [bytes(data[a:b]) for a, b in itertools.pairwise(edges)]


async def converse(parts: list[bytes], how_it_ends: str) -> None:
    errors: list[BaseException] = []
    app = Application()
    state = ServerState(app, ConnectionLimits(), errors.append, is_expected)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    with trio.fail_after(5), theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, admit(ours, state, None), state)
            for part in parts:
                try:
                    theirs.send(part)
                except OSError:
                    break
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
            if how_it_ends == "drains":
                state.is_draining = True
                for connection in tuple(state.connections):
                    connection.begin_drain()
            elif how_it_ends == "half-closes":
                theirs.shutdown(socket.SHUT_WR)
            if how_it_ends != "half-closes":
                await trio.lowlevel.checkpoint()
                theirs.close()
    assert state.connections == set()
    assert app.running == 0
    # unknown paths are AttributeErrors of the test's application, and nothing else may be heard of
    assert all(isinstance(error, AttributeError) for error in errors), errors


@settings(max_examples=4 * settings().max_examples, deadline=None, suppress_health_check=list(HealthCheck))
@given(conversations(), st.sampled_from(["closes", "half-closes", "drains"]))
def test_garbage_ends_its_connection_and_raises_nothing(parts: list[bytes], how_it_ends: str) -> None:
    trio.run(converse, parts, how_it_ends)


async def test_cancel_closes_the_connection_at_once() -> None:
    for request in (b"", b"GET", get(b"wait"), get(b"streamwait"), get(b"flood")):
        state = ServerState(Application(), ConnectionLimits(), _fail)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with trio.fail_after(2), theirs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_connection, admit(ours, state, None), state)
                theirs.send(request)
                await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        assert state.connections == set()
        assert ours.fileno() == -1


def _fail(error: BaseException) -> Any:
    raise AssertionError from error
