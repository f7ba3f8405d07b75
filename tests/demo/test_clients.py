"""The demo's clients against a server of a few lines."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.demo import clients
from relay_trio.demo.clients import DemoClient, Moment, Sent, draw_leave, hang_up, receive
from relay_trio.demo.http_client import HttpClient, Way, open_client
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
async def ends(listener: Listener) -> AsyncIterator[tuple[HttpClient, trio.SocketStream]]:
    """A client and the server's end of its connection."""
    with trio.fail_after(10):
        client = await open_client(listener.address)
        async with await listener.accept() as server:
            yield client, server
            client.close()


Ends = tuple[HttpClient, trio.SocketStream]


@pytest.mark.parametrize(
    ("body", "is_finished"),
    [(chunk(STOP), True), (chunk(b"event: ping\n\n") + chunk(STOP), True), (chunk(b"event: ping\n\n"), False)],
)
async def test_receive_tells_a_good_end_from_a_clean_one(ends: Ends, body: bytes, is_finished: bool) -> None:
    client, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(HEAD + body + b"0\r\n\r\n")
    await receive(client, REQUEST, sent)
    assert (sent.status, sent.is_whole, sent.is_finished) == (200, True, is_finished)


async def test_receive_of_an_error_status_expects_no_end_of_the_dialect(ends: Ends) -> None:
    client, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}")
    await receive(client, REQUEST, sent)
    assert (sent.status, sent.is_whole, sent.is_finished) == (429, True, True)


async def test_receive_of_a_cut_answer_is_not_whole_whatever_its_last_bytes_are(ends: Ends) -> None:
    client, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(HEAD + chunk(STOP))
    await server.send_eof()
    await receive(client, REQUEST, sent)
    assert (sent.status, sent.is_whole, sent.is_finished) == (200, False, False)


async def test_receive_of_nothing_has_no_status(ends: Ends) -> None:
    client, server = ends
    sent = Sent("demo-0-0")
    await server.send_eof()
    await receive(client, REQUEST, sent)
    assert (sent.status, sent.is_whole) == (None, False)


async def test_receive_stops_after_so_many_parts(ends: Ends) -> None:
    client, server = ends
    sent = Sent("demo-0-0")
    await server.send_all(HEAD + chunk(b"one") + chunk(b"two"))
    await receive(client, REQUEST, sent, 1)
    assert not sent.is_whole
    assert not client.can_go_on


@pytest.mark.parametrize("way", list(Way))
async def test_hanging_up_ends_the_servers_reading_in_that_way(ends: Ends, way: Way) -> None:
    client, server = ends
    async with trio.open_nursery() as nursery:

        async def server_reads() -> None:
            if way is Way.RESET:
                with pytest.raises(trio.BrokenResourceError):
                    await server.receive_some()
            else:
                assert await server.receive_some() == b""
            await server.aclose()

        nursery.start_soon(server_reads)
        assert not await hang_up(client, way)


async def test_a_half_close_that_is_not_answered_is_found(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = ends
    monkeypatch.setattr(clients, "_HALF_CLOSE_SECONDS", 0.01)
    assert await hang_up(client, Way.HALF_CLOSE)


async def test_a_client_that_leaves_makes_its_next_request_on_another_connection(listener: Listener) -> None:
    client = DemoClient(0, draw, listener.address, random.Random(0), 1.0, lambda request_id: True)
    stop = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run, stop)
            for _ in range(3):
                server = await listener.accept()
                assert b"x-request-id: demo-0-" in await server.receive_some()
                nursery.start_soon(server.aclose)
            nursery.cancel_scope.cancel()
    assert len(client.sent) >= 3


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
