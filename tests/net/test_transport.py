"""Transports: the synchronous calls, over real sockets and over memory streams, and the socket's edge cases."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.net import transport as transport_module
from relay_trio.net.transport import SocketTransport, StreamTransport, transport_over

if TYPE_CHECKING:
    from relay_trio.net.transport import Transport


def pair(write_timeout_seconds: float) -> tuple[SocketTransport, socket.socket]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return SocketTransport(ours, write_timeout_seconds), theirs


async def test_a_cancelled_drain_keeps_every_byte_in_order() -> None:
    transport, theirs = pair(5)
    sent = b""
    for number in range(50):
        data = bytes([number]) * 3000
        transport.write_nowait(data)
        sent += data
        with trio.move_on_after(0.001):
            await transport.drain()
    assert transport.unsent_bytes > 0
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.drain)
        while len(received) < len(sent):
            await trio.lowlevel.wait_readable(theirs)
            received += theirs.recv(65_536)
    assert received == sent
    transport.close()
    theirs.close()


async def test_close_wakes_both_directions() -> None:
    transport, theirs = pair(5)
    transport.write_nowait(b"x" * 1_000_000)
    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            nursery.start_soon(transport.wait_readable)
            await trio.sleep(0.01)
            transport.close()
    assert transport.read_nowait() == b""
    transport.write_nowait(b"nothing happens")
    await transport.wait_readable()
    transport.close()
    transport.abort()
    theirs.close()


async def test_a_broken_pipe_is_not_an_error() -> None:
    transport, theirs = pair(5)
    theirs.close()
    for _ in range(3):
        transport.write_nowait(b"x")
        await transport.drain()
    assert transport.is_broken
    assert not transport.has_stalled
    transport.write_eof()
    transport.close()


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return near, await listener.accept()


async def read_some(transport: Transport) -> bytes:
    """What the next read yields."""
    while (data := transport.read_nowait()) is None:
        await transport.wait_readable()
    return data


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_bytes_travel_in_order_and_the_end_is_seen(kind: str) -> None:
    """More than the peer takes at once, in two pieces."""
    near, far = await socket_pair() if kind == "socket" else trio.testing.memory_stream_pair()
    transport: Transport = transport_over(near)
    assert isinstance(transport, SocketTransport if kind == "socket" else StreamTransport)
    data = os.urandom(8_000_000)
    received = bytearray()

    async def read() -> None:
        while len(received) < len(data) + 2:
            received.extend(await far.receive_some(1_000_000))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            transport.write_nowait(b"ab", data)
            assert transport.unsent_bytes
            nursery.start_soon(read)
            await transport.drain()
            assert not transport.unsent_bytes
        assert bytes(received) == b"ab" + data
        assert transport.read_nowait() is None
        await far.send_all(b"c")
        assert await read_some(transport) == b"c"
        await far.aclose()
        assert await read_some(transport) == b""
        assert transport.failure is None
    transport.close()
    transport.close()


async def test_a_socket_takes_a_small_request_at_once() -> None:
    """One system call, no waiting."""
    near, far = await socket_pair()
    transport = transport_over(near)
    transport.write_nowait(b"x" * 10_000, b"", b"y")
    assert not transport.unsent_bytes
    async with far:
        with trio.fail_after(1):
            assert len(await far.receive_some()) == 10_001
        await far.send_all(b"early")
        await trio.sleep(0.01)
        assert transport.read_nowait() == b"early"
        assert transport.read_nowait() is None
    assert transport.read_nowait() == b""
    transport.close()


@pytest.mark.parametrize("gathered", [transport_module._GATHERED_PIECES, 1], ids=["sendmsg", "no sendmsg"])
async def test_many_small_pieces_behind_a_full_socket_leave_in_order(
    gathered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one system call gathers, each cut anywhere; Windows sends piece by piece."""
    monkeypatch.setattr(transport_module, "_GATHERED_PIECES", gathered)
    near, far = await socket_pair()
    transport = transport_over(near)
    sent = bytearray()
    while not transport.unsent_bytes:
        transport.write_nowait(bytes(100_000))
        sent += bytes(100_000)
    for number in range(1000):
        piece = b"%d," % number
        transport.write_nowait(piece)
        sent += piece
    received = bytearray()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.drain)
            while len(received) < len(sent):
                received += await far.receive_some(4096)
    assert received == sent
    assert transport.unsent_bytes == 0
    transport.close()
    await far.aclose()


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_a_connection_that_breaks_raises_nothing_and_says_why(kind: str) -> None:
    """A read finds the end, with a failure where the other end did not close in an orderly way."""
    near, far = await socket_pair() if kind == "socket" else trio.testing.memory_stream_pair()
    transport: Transport = transport_over(near)
    transport.write_nowait(b"unread")
    await transport.drain()
    await trio.testing.wait_all_tasks_blocked(0.01)
    await far.aclose()  # a socket with unread data: RST
    with trio.fail_after(2):
        assert await read_some(transport) == b""
        if kind == "socket":
            assert transport.failure == "receiving failed: Connection reset by peer"
        for _ in range(2):
            transport.write_nowait(b"x")
            await transport.drain()
        assert transport.is_broken
        assert await read_some(transport) == b""
    transport.close()


async def test_a_stream_that_cannot_be_closed_at_once_is_refused() -> None:
    """A cancelled task could not close it."""

    class Slow(trio.abc.Stream):
        async def send_all(self, data: object) -> None: ...
        async def wait_send_all_might_not_block(self) -> None: ...
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None: ...

    with pytest.raises(TypeError, match="Slow has no synchronous close"):
        transport_over(Slow())
