"""Conversations with a real socket: framing, presence, early replies, limits, keep-alive."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.context import REQUEST_KEY
from tests.server.serving import Client, open_server
from tests.server.test_request_head import REFUSED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.e2e  # sockets, and their limits in real time

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n"
POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
SEEN_WITHIN = 0.25


def get(path: bytes = b"hello", fields: bytes = b"") -> bytes:
    return GET % (path, fields)


def post(path: bytes, body: bytes) -> bytes:
    return POST % (path, len(body), body)


# --- keep-alive, pipelining, the end of a connection ---


@pytest.mark.parametrize("tls", [False, True])
async def test_requests_follow_each_other_on_one_connection(tls: bool) -> None:
    with trio.fail_after(10):
        async with open_server(tls=tls) as served, await served.connect() as client:
            for number in range(50):
                body = b"x" * number
                assert (await client.exchange(post(b"echo", body)))[::2] == (200, body)
            assert (await client.exchange(get(b"chunks")))[2] == b"".join(b"chunk %d;" % n for n in range(5))
            assert (await client.exchange(post(b"echo", b"again")))[::2] == (200, b"again")


async def test_pipelined_requests_are_answered_in_order() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(b"".join(post(b"echo", b"%d" % n) for n in range(20)) + b"\r\n\r\n" + get(b"chunks"))
            assert [(await client.response())[2] for _ in range(20)] == [b"%d" % n for n in range(20)]
            assert (await client.response())[0] == 200


async def test_a_chunked_upload_is_read_and_the_next_request_served() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            for data in (b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n"):
                assert (await client.exchange(head + data))[2] == b"abcde"
                for byte in head + data:
                    await client.send(bytes([byte]))
                assert (await client.response())[2] == b"abcde"


async def test_connection_close_is_carried_out_by_the_server() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            for request in (
                get(b"hello", b"Connection: close\r\n"),
                get(b"chunks", b"Connection: close\r\n"),
                get(b"close"),
                b"GET /chunks HTTP/1.0\r\n\r\n",
                b"GET /hello HTTP/1.0\r\n\r\n",
            ):
                async with await served.connect() as client:
                    await client.send(request)
                    assert b"connection: close" in await client.rest()


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    with trio.fail_after(10):
        async with open_server(keep_alive_timeout_seconds=0.2, head_timeout_seconds=0.2) as served:
            clients = []
            for _ in range(40):
                clients.append(await served.connect())
                await clients[-1].exchange(get())
            busy = await served.connect()
            await busy.send(get(b"hold"))
            started = trio.current_time()
            for client in clients:
                assert await client.rest() == b""
            assert trio.current_time() - started < 1
            await trio.sleep(0.3)
            served.app.go.set()
            assert (await busy.response())[2] == b"first;last"


async def test_http_1_0_keep_alive_is_honoured_when_asked_for() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            for _ in range(3):
                status, fields, body = await client.exchange(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert (status, fields[b"connection"], body) == (200, b"keep-alive", b"hello")


# --- presence: each way a client can leave, after each way it can have spoken ---

BEYOND_READING = "more than is read ahead"
FRAMINGS = {
    "plain get": get(b"wait"),
    "sized body": post(b"wait", b"body"),
    "stray crlf": post(b"wait", b"body") + b"\r\n",
    "pipelined": get(b"wait") + get(b"hello"),
    "half a pipelined head": get(b"wait") + b"GET / HT",
    BEYOND_READING: get(b"wait") + b"x" * 100_000,
    "upgrade h2c": get(b"wait", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    "upgrade websocket": get(b"wait", b"Connection: Upgrade\r\nUpgrade: websocket\r\n") + b"x",
    "chunked": b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked, unfinished": b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "sized, unfinished": b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc",
    "http/1.0": b"GET /wait HTTP/1.0\r\n\r\n",
    "streaming": get(b"streamwait"),
    "streaming, pipelined": get(b"streamwait") + get(b"hello") + b"\r\n",
}


async def leave_by_fin(client: Client) -> None:
    client.sock.close()


async def leave_by_reset(client: Client) -> None:
    client.reset()


async def leave_by_half_close(client: Client) -> None:
    client.close_sending()


async def leave_by_close_notify(client: Client) -> None:
    if isinstance(client.stream, trio.SSLStream):
        await client.stream.unwrap()
    else:
        client.close_sending()


WAYS = [leave_by_fin, leave_by_reset, leave_by_half_close, leave_by_close_notify]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_disconnect_is_seen_in_every_framing(way: Callable[[Client], Awaitable[None]], tls: bool) -> None:
    """Within 250 ms, on fresh and on reused connections, and nothing stays behind."""
    with trio.fail_after(30):
        async with open_server(tls=tls) as served:
            for reused in (False, True):
                for framing, request in FRAMINGS.items():
                    if framing == BEYOND_READING and tls and way is leave_by_close_notify:
                        continue  # an alert without a FIN is a record like the others, behind what is not read
                    app = served.app
                    count = len(app.losses)
                    client = await served.connect()
                    if reused:
                        await client.exchange(get())
                    await client.send(request)
                    if b"stream" in request:
                        await client.until(b"first")
                    await app.until(lambda app=app: app.running == 1)
                    await trio.sleep(0.01)
                    left_at = trio.current_time()
                    with trio.move_on_after(SEEN_WITHIN) as scope:
                        if tls and way is leave_by_close_notify:
                            with trio.move_on_after(SEEN_WITHIN / 2):
                                await way(client)
                        else:
                            await way(client)
                        await app.until(lambda app=app, count=count: len(app.losses) > count)
                    assert not scope.cancelled_caught, framing
                    assert trio.current_time() - left_at < SEEN_WITHIN
                    assert app.losses[-1][1] == DisconnectReason.LEFT
                    await app.until(lambda app=app: app.running == 0)
                    await trio.aclose_forcefully(client.stream)


async def test_a_disconnect_is_seen_behind_a_body_that_nobody_takes() -> None:
    """The application does not read it, so reading has stopped: the kernel is asked instead."""
    with trio.fail_after(5):
        async with open_server() as served:
            for way in (leave_by_fin, leave_by_reset, leave_by_half_close):
                client = await served.connect()
                await client.send(
                    b"POST /nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 100_000
                )
                await served.app.until(lambda: served.app.running == 1)
                await trio.sleep(0.05)
                await way(client)
                await trio.sleep(SEEN_WITHIN)
                assert served.app.scopes[-1][REQUEST_KEY].disconnected_at is not None
                served.app.go.set()
                await served.app.until(lambda: served.app.running == 0)
                served.app.go = trio.Event()


async def test_the_end_of_a_response_does_not_look_like_a_disconnect() -> None:
    """receive() stays parked through the last send, or every request would seem to end with the client leaving."""
    seen: list[str] = []

    async def app(scope: dict, receive: object, send: object) -> None:
        if scope["type"] == "lifespan":
            return
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    seen.append((await receive())["type"])  # type: ignore[operator]

            nursery.start_soon(watch)
            await trio.sleep(0.01)
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b"a", "more_body": True})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b"b"})  # type: ignore[operator]
            await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    with trio.fail_after(5):
        async with open_server(app) as served, await served.connect() as client:
            for _ in range(3):
                assert (await client.exchange(get()))[2] == b"ab"
                await trio.sleep(0.1)
    assert seen == []


async def test_what_is_sent_far_ahead_waits_in_the_kernel_and_is_served() -> None:
    """A client may send its next large request in the moment between our last byte and the end of the request task."""
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.send, get(b"nobody") + post(b"echo", b"x" * 200_000) + get(b"hello"))
            await trio.sleep(0.3)
            served.app.go.set()
            assert [len((await client.response())[2]) for _ in range(3)] == [0, 200_000, 5]


# --- early replies ---

EARLY = {
    "sized, later": (b"Content-Length: 5\r\n", [b"hello"]),
    "sized, in parts": (b"Content-Length: 5\r\n", [b"he", b"llo"]),
    "sized, large": (b"Content-Length: 100000\r\n", [b"x" * 50_000] * 2),
    "chunked": (b"Transfer-Encoding: chunked\r\n", [b"5\r\nhello\r\n", b"0\r\n\r\n"]),
    "expect": (b"Content-Length: 5\r\nExpect: 100-continue\r\n", []),
    "too large to throw away": (b"Content-Length: 3000000\r\n", [b"x" * 300_000] * 10),
}


@pytest.mark.parametrize("path", [b"early", b"earlystream"])
async def test_an_early_reply_never_hangs_the_next_request(path: bytes) -> None:
    """300 next requests after a reply that came before the body: each is served, or the connection was closed."""
    gaps = [0.0, 0.0005, 0.002, 0.01]
    served_next: list[bool] = []
    with trio.fail_after(60):
        async with open_server() as served:

            async def speak(name: str, gap: float) -> None:
                client = await served.connect()
                with trio.fail_after(3):
                    served_next.append(await early_then_next(client, path, *EARLY[name], gap, name))
                await trio.aclose_forcefully(client.stream)

            for round_number in range(25):
                async with trio.open_nursery() as nursery:
                    for name in EARLY:
                        for keep in range(2):
                            nursery.start_soon(speak, name, gaps[(round_number + keep) % len(gaps)])
            await trio.sleep(0.05)
            assert served.app.running == 0
    assert served_next == [True] * 300


async def early_then_next(
    client: Client, path: bytes, fields: bytes, parts: list[bytes], gap: float, name: str
) -> bool:
    await client.send(b"POST /" + path + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    try:
        for part in parts:
            await trio.sleep(gap)
            await client.send(part)
    except trio.BrokenResourceError:
        assert name == "too large to throw away"
    status, got, body = await client.response()
    assert (status, body) in ((401, b"no"), (429, b"no"))
    if got.get(b"connection") == b"close":
        assert await client.rest() == b""  # closed: the client knows that it must connect again
        return True
    assert (await client.exchange(post(b"echo", b"next")))[::2] == (200, b"next")
    return True


async def test_a_client_that_never_sends_the_rest_is_closed() -> None:
    with trio.fail_after(5):
        async with open_server(linger_seconds=0.1) as served, await served.connect() as client:
            await client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
            assert (await client.response())[0] == 401
            assert await client.rest() == b""


# --- Expect ---


async def test_continue_is_said_when_the_application_reads_the_body() -> None:
    """And not when it watches for a disconnect, as Quart does before any handler has decided."""
    head = b"POST /nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            for _ in range(2):
                served.app.go = trio.Event()
                await client.send(head)
                with trio.move_on_after(0.1) as scope:
                    await client.until(b"\r\n\r\n")
                assert scope.cancelled_caught
                served.app.go.set()
                assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                assert (await client.exchange(b"body"))[::2] == (200, b"body")


async def test_a_refusal_needs_no_continue() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            status, fields, _ = await client.response()
            assert (status, fields[b"connection"]) == (401, b"close")
            assert await client.rest() == b""


# --- slow clients ---


async def test_a_slow_head_is_timed_out_and_others_are_served() -> None:
    with trio.fail_after(5):
        async with open_server(head_timeout_seconds=0.3) as served:
            silent, slow = await served.connect(), await served.connect()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def drip() -> None:
                    for byte in get():
                        try:
                            await slow.send(bytes([byte]))
                        except trio.BrokenResourceError:
                            return
                        await trio.sleep(0.05)

                await served.probe()
                started = trio.current_time()
                assert await silent.rest() == b""
                assert (await slow.response())[0] == 408
                assert trio.current_time() - started < 0.6


async def test_a_slow_second_head_is_timed_out_like_the_first() -> None:
    with trio.fail_after(5):
        async with open_server(head_timeout_seconds=0.2) as served, await served.connect() as client:
            await client.exchange(get())
            await client.send(b"GET / HT")
            assert (await client.response())[0] == 408


async def test_a_slow_body_is_timed_out() -> None:
    with trio.fail_after(5):
        async with open_server(body_idle_timeout_seconds=0.2) as served, await served.connect() as client:
            await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab")
            await trio.sleep(0.15)
            await client.send(b"c")
            started = trio.current_time()
            assert (await client.response())[0] == 408
            assert 0.1 < trio.current_time() - started < 0.4
            await served.app.until(lambda: bool(served.app.losses))
            assert served.app.losses[0][1] == DisconnectReason.BODY_TIMEOUT


async def test_a_dripping_body_is_timed_out_in_total() -> None:
    with trio.fail_after(5):
        async with (
            open_server(body_idle_timeout_seconds=0.5, body_total_timeout_seconds=0.3) as served,
            await served.connect() as client,
        ):
            await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
            for _ in range(10):
                try:
                    await client.send(b"x")
                except trio.BrokenResourceError:
                    break
                await trio.sleep(0.05)
            assert (await client.response())[0] == 408


async def test_the_body_timeout_waits_for_an_application_that_does_not_read() -> None:
    with trio.fail_after(5):
        async with (
            open_server(body_idle_timeout_seconds=0.2, body_total_timeout_seconds=0.4) as served,
            await served.connect() as client,
        ):
            body = b"x" * 200_000
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, post(b"nobody", body))
                await trio.sleep(0.6)
                served.app.go.set()
                assert (await client.response())[::2] == (200, body)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("then", ["stays", "half-closes", "goes on pipelining"])
async def test_a_client_that_stops_reading_is_reset_at_the_limit(tls: bool, then: str) -> None:
    with trio.fail_after(10):
        async with open_server(tls=tls, write_timeout_seconds=0.5) as served:
            client = await served.connect(rcvbuf=4096)
            started = trio.current_time()
            await client.send(get(b"flood"))
            await trio.sleep(0.1)
            if then == "half-closes":
                client.close_sending()
            elif then == "goes on pipelining":
                await client.send(b"\r\n")
            await served.app.until(lambda: bool(served.app.losses))
            await served.app.until(lambda: served.app.running == 0)
            took = trio.current_time() - started
            if then == "half-closes":
                assert took < 0.1 + SEEN_WITHIN
                assert served.app.losses[0][1] == DisconnectReason.LEFT
            else:
                assert 0.4 < took < 1.2
                assert served.app.losses[0][1] == DisconnectReason.STALLED
                with pytest.raises(trio.BrokenResourceError):
                    await client.until_broken()
            assert served.app.sent < 4_000_000
            await trio.aclose_forcefully(client.stream)


async def test_a_slow_reader_that_makes_progress_is_served() -> None:
    """400 kB at 200 kB/s with a limit of 0.4 s: the whole takes five times the limit."""
    with trio.fail_after(20):
        async with open_server(write_timeout_seconds=0.4) as served:
            client = await served.connect(rcvbuf=8192)
            await client.send(get(b"slowflood", b"Connection: close\r\n"))
            received = b""
            while data := await client.sock.recv(4096):
                received += data
                await trio.sleep(0.02)
            assert received.endswith(b"\r\n0\r\n\r\n")
            assert received.count(b"x") == 400_000
            await trio.aclose_forcefully(client.stream)


async def test_a_stalled_client_costs_bounded_memory() -> None:
    """What the application could get rid of, beyond what the client's own kernel took, stays under 256 KiB."""
    with trio.fail_after(10):
        async with open_server(write_timeout_seconds=5) as served:
            client = await served.connect(rcvbuf=4096)
            await client.send(get(b"flood"))
            await trio.sleep(0.5)
            handed_over = served.app.sent
            taken = 0
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with trio.move_on_after(0.05):
                taken = len(await client.sock.recv(1_000_000))
            assert handed_over - taken < 256 * 1024
            await trio.aclose_forcefully(client.stream)


# --- strict framing ---


@pytest.mark.parametrize("name", REFUSED)
async def test_an_ambiguous_head_is_answered_and_the_connection_closed(name: str) -> None:
    fields, status = REFUSED[name]
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + get(b"hello"))
            got, answered, _ = await client.response()
            assert (got, answered[b"connection"]) == (status, b"close")
            assert await client.rest() == b""
            assert served.app.started == []  # neither the request nor the one smuggled behind it


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\n\n\n", 400),
        (b"A" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 60_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    ],
)
async def test_what_is_no_request_is_refused_at_once(data: bytes, status: int) -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            assert (await client.exchange(data))[0] in (status, 400)
            assert await client.rest() == b""
            assert len(served.bad_heads) == 1


async def test_a_malformed_chunk_gets_400_and_a_close() -> None:
    with trio.fail_after(5):
        async with open_server() as served:
            for chunk in (b"zz\r\n", b"3\r\nabcd\r\n", b"3\nabc\n", b"\x00"):
                async with await served.connect() as client:
                    await client.send(
                        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + get()
                    )
                    assert (await client.response())[0] == 400
                    assert await client.rest() == b""
            assert {loss for _, loss, _ in served.app.losses} == {DisconnectReason.MISBEHAVED}
            assert served.bad_heads == []  # the head was read, so the application knows the request


async def test_a_head_at_the_limit_is_served() -> None:
    with trio.fail_after(5):
        async with open_server() as served, await served.connect() as client:
            padding = 32 * 1024 - len(get(b"hello", b"X: \r\n"))
            assert (await client.exchange(get(b"hello", b"X: " + b"y" * padding + b"\r\n")))[0] == 200
