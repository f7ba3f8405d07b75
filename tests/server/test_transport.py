"""The socket's edge cases, which no conversation reaches on purpose."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio

from relay_trio.server.transport import Transport
from tests.server.serving import authority, open_server


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_served() -> None:
    """TLS 1.3 lets a client send its Finished and its request in one segment; Node does."""
    with trio.fail_after(5):
        async with open_server(tls=True) as served:
            context = ssl.create_default_context()
            authority().configure_trust(context)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        if outgoing.pending:
                            await stream.send_all(outgoing.read())
                        incoming.write(await stream.receive_some())
                tls.write(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
                await stream.send_all(outgoing.read())
                received = b""
                while not received.endswith(b"hello"):
                    incoming.write(await stream.receive_some())
                    try:
                        while True:
                            received += tls.read(65_536)
                    except ssl.SSLWantReadError:
                        pass


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x16\x03\x01\xff\xff" + b"\0" * 1000,
        b"\0" * 100,
        b"\x15\x03\x03\x00\x02\x02\x28",
    ],
)
async def test_garbage_on_the_tls_port_is_closed(data: bytes) -> None:
    with trio.fail_after(5):
        async with open_server(tls=True, handshake_timeout_seconds=0.2) as served:
            for half_close in (False, True):
                async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
                    await stream.send_all(data)
                    if half_close:
                        await stream.send_eof()
                    try:
                        while await stream.receive_some():
                            pass
                    except trio.BrokenResourceError:
                        pass
            await served.probe()


async def test_a_silent_handshake_is_timed_out() -> None:
    with trio.fail_after(5):
        async with (
            open_server(tls=True, handshake_timeout_seconds=0.2) as served,
            await trio.open_tcp_stream("127.0.0.1", served.port) as stream,
        ):
            started = trio.current_time()
            assert await stream.receive_some() == b""
            assert trio.current_time() - started < 1


async def test_tls_records_larger_than_one_read_arrive_whole() -> None:
    with trio.fail_after(10):
        async with open_server(tls=True) as served, await served.connect() as client:
            body = bytes(range(256)) * 4000
            request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert (await client.exchange(request + body))[2] == body


def pair(write_timeout_seconds: float) -> tuple[Transport, socket.socket]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return Transport(ours, write_timeout_seconds), theirs


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
