"""The demo's clients against a server of a few lines: each way to leave is the one it says."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import h11
import pytest
import trio

from relay_trio.demo.clients import DemoClient, Moment, Sent, Way, Wire, draw_leave
from relay_trio.simulator.samples import SampleRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STOP = b"event: message_stop\ndata: {}\n\n"
HEADERS = (("x-api-key", "rt_demo"),)
REQUEST = SampleRequest("/v1/messages?beta=true", HEADERS, b'{"stream":true}', (b"event: message_stop",))


def draw(rng: random.Random) -> SampleRequest:
    return REQUEST


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Listener:
    """Hands out the server's end of each connection."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.address: tuple[str, int] = listener.socket.getsockname()[:2]

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    (made,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with made:
        yield Listener(made)


@pytest.fixture
async def ends(listener: Listener) -> AsyncIterator[tuple[Wire, trio.SocketStream]]:
    """A wire on which a request was sent and read, and the server's end of it."""
    with trio.fail_after(10):
        wire = await Wire.open(listener.address)
        async with await listener.accept() as server:
            await wire.send("demo-0-0", REQUEST)
            await server.receive_some()
            yield wire, server
            wire.close(Way.FIN)


@pytest.mark.parametrize(
    ("body", "is_finished"),
    [(chunk(STOP), True), (chunk(b"event: ping\n\n") + chunk(STOP), True), (chunk(b"event: ping\n\n"), False)],
)
async def test_receive_tells_a_good_end_from_a_clean_one(
    ends: tuple[Wire, trio.SocketStream], body: bytes, is_finished: bool
) -> None:
    wire, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(HEAD + body + b"0\r\n\r\n")
    await wire.receive(sent)
    assert (sent.status, sent.is_whole, sent.is_finished) == (200, True, is_finished)
    assert wire.start_next()


async def test_receive_of_an_error_status_expects_no_last_event(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}")
    await wire.receive(sent)
    assert (sent.status, sent.is_whole, sent.is_finished) == (429, True, True)


async def test_send_writes_one_request_of_its_dialect(listener: Listener) -> None:
    with trio.fail_after(10):
        wire = await Wire.open(listener.address)
        async with await listener.accept() as server:
            await wire.send("demo-0-0", REQUEST)
            wire.close_sending()
            head, _, body = b"".join([part async for part in server]).partition(b"\r\n\r\n")
            wire.close(Way.FIN)
    first, *fields = head.split(b"\r\n")
    assert first == b"POST /v1/messages?beta=true HTTP/1.1"
    assert {b"x-api-key: rt_demo", b"x-request-id: demo-0-0", b"content-length: 15"} < set(fields)
    assert body == REQUEST.body


async def test_receive_of_a_cut_answer_raises(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(HEAD + chunk(STOP))
    await server.send_eof()
    with pytest.raises(h11.RemoteProtocolError):
        await wire.receive(sent)
    assert not sent.is_whole


async def test_receive_stops_after_so_many_parts(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(HEAD + chunk(b"one") + chunk(b"two"))
    await wire.receive(sent, 1)
    assert not sent.is_whole
    assert not wire.start_next()


async def test_close_with_fin_ends_the_servers_reading(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    wire.close(Way.FIN)
    assert await server.receive_some() == b""


async def test_close_with_reset_breaks_the_servers_reading(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    wire.close(Way.RESET)
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()


async def test_half_close_ends_only_one_direction(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    wire.close_sending()
    assert await server.receive_some() == b""
    await server.send_all(HEAD + chunk(STOP) + b"0\r\n\r\n")
    sent = Sent("demo-0-0")
    await wire.receive(sent)
    assert sent.is_whole


async def test_wait_closed_returns_when_the_server_closes(ends: tuple[Wire, trio.SocketStream]) -> None:
    wire, server = ends
    await server.send_all(HEAD)
    await server.aclose()
    await wire.wait_closed()


async def test_stopping_finishes_the_request_that_runs(listener: Listener) -> None:
    client = DemoClient(0, draw, listener.address, random.Random(0), 0.0, lambda request_id: True)
    stop = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run, stop)
            async with await listener.accept() as server:
                await server.receive_some()
                stop.set()
                await server.send_all(HEAD + chunk(STOP) + b"0\r\n\r\n")
    (sent,) = client.sent
    assert (sent.request_id, sent.has_left, sent.is_admitted, sent.is_whole) == ("demo-0-0", False, True, True)


async def test_cancel_counts_as_leaving(listener: Listener) -> None:
    client = DemoClient(0, draw, listener.address, random.Random(0), 0.0, lambda request_id: False)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run, trio.Event())
            async with await listener.accept() as server:
                await server.receive_some()
                nursery.cancel_scope.cancel()
    assert [(sent.has_left, sent.is_admitted) for sent in client.sent] == [(True, False)]


def test_plans_to_leave_have_the_share_that_was_asked_for_and_every_moment() -> None:
    rng = random.Random(1)
    drawn = [draw_leave(rng, 0.5) for _ in range(2000)]
    leaves = [leave for leave in drawn if leave is not None]
    assert 900 < len(leaves) < 1100
    assert {leave.moment for leave in leaves} == set(Moment)
    assert {leave.way for leave in leaves} == set(Way)
    assert draw_leave(rng, 0.0) is None
