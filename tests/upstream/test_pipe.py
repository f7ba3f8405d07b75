"""Pipes: the synchronous calls, over a real socket and over memory streams."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from relay_trio.upstream.pipe import Pipe, SocketPipe, StreamPipe, pipe_over


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return near, await listener.accept()


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_bytes_travel_in_order_and_the_end_is_seen(kind: str) -> None:
    """More than the peer takes at once, in two pieces."""
    near, far = await socket_pair() if kind == "socket" else trio.testing.memory_stream_pair()
    pipe: Pipe = pipe_over(near)
    assert isinstance(pipe, SocketPipe if kind == "socket" else StreamPipe)
    data = os.urandom(8_000_000)
    received = bytearray()

    async def read() -> None:
        while len(received) < len(data) + 2:
            received.extend(await far.receive_some(1_000_000))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            assert not pipe.send_nowait(b"ab", data)
            nursery.start_soon(read)
            await pipe.flush()
        assert bytes(received) == b"ab" + data
        assert pipe.receive_nowait() is None
        await far.send_all(b"c")
        assert await pipe.receive_some() == b"c"
        await far.aclose()
        assert await pipe.receive_some() == b""
    pipe.close()
    pipe.close()


async def test_a_socket_takes_a_small_request_at_once() -> None:
    """One system call, no waiting."""
    near, far = await socket_pair()
    pipe = pipe_over(near)
    assert pipe.send_nowait(b"x" * 10_000, b"", b"y")
    async with far:
        with trio.fail_after(1):
            assert len(await far.receive_some()) == 10_001
        await far.send_all(b"unasked")
        await trio.sleep(0.01)
        assert pipe.receive_nowait() == b"unasked"
        assert pipe.receive_nowait() is None
    assert pipe.receive_nowait() == b""
    pipe.close()


async def test_a_peer_that_is_gone_is_a_broken_resource() -> None:
    """Sending and receiving, however the system calls it."""
    near, far = await socket_pair()
    pipe = pipe_over(near)
    pipe.send_nowait(b"unread")
    await trio.sleep(0.01)
    await far.aclose()  # with unread data: RST
    with pytest.raises(trio.BrokenResourceError):
        await pipe.receive_some()
    assert pipe.receive_nowait() == b""
    with pytest.raises(trio.BrokenResourceError):
        pipe.send_nowait(b"x")
    pipe.close()


async def test_a_stream_that_cannot_be_closed_at_once_is_refused() -> None:
    """A cancelled task could not close it."""

    class Slow(trio.abc.Stream):
        async def send_all(self, data: object) -> None: ...
        async def wait_send_all_might_not_block(self) -> None: ...
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None: ...

    with pytest.raises(TypeError, match="Slow has no synchronous close"):
        pipe_over(Slow())
