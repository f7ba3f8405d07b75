"""TLS over a transport: handshakes that go wrong, damage, large records, and how it ends."""

from __future__ import annotations

import ssl

import pytest
import trio
import trio.testing

from relay_trio.net.tls import TlsTransport
from relay_trio.net.transport import StreamTransport, transport_over
from tests.net.test_transport import read_some, socket_pair
from tests.server.serving import authority, open_server


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(client)
    for context in (server, client):
        context.options |= ssl.OP_NO_RENEGOTIATION
    return server, client


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_served() -> None:
    """TLS 1.3 lets a client send its Finished and its request in one segment; Node does."""
    with trio.fail_after(5):
        async with open_server(tls=True) as served:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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


async def test_damaged_records_are_a_broken_connection() -> None:
    """What was decrypted before them is handed out first."""
    near, far = trio.testing.memory_stream_pair()
    server_context, client_context = contexts()
    server = trio.SSLStream(far, server_context, server_side=True, https_compatible=True)
    transport = TlsTransport(StreamTransport(near), client_context, server_hostname="localhost")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            await transport.handshake()
        assert transport.read_nowait() is None
        await server.send_all(b"good")
        await far.send_all(b"\x17\x03\x03\x00\x05junk!")
        assert await read_some(transport) == b"good"
        for _ in range(2):
            assert await read_some(transport) == b""
        assert transport.failure is not None
        assert transport.failure.startswith("TLS failed")
    transport.close()


async def tls_pair() -> tuple[TlsTransport, TlsTransport]:
    """The client's end and the server's, over real sockets, hands shaken."""
    server_context, client_context = contexts()
    near, far = (transport_over(stream) for stream in await socket_pair())
    client = TlsTransport(near, client_context, server_hostname="localhost")
    server = TlsTransport(far, server_context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return client, server


async def test_a_large_body_is_encrypted_as_the_socket_takes_it() -> None:
    """Plain bytes wait here: 20 MB at once would hold up every other task."""
    body = bytes(range(256)) * 80_000
    with trio.fail_after(10):
        client, server = await tls_pair()
        client.write_nowait(b"head", body, b"", b"tail")
        assert len(body) / 2 < client.unsent_bytes <= len(body) + 8
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.drain)
            while len(received) < len(body) + 8:
                received += await read_some(server)
        assert bytes(received) == b"head" + body + b"tail"
        assert client.unsent_bytes == 0
        client.close()
        server.close()


@pytest.mark.parametrize("is_clean", [True, False])
async def test_an_end_without_close_notify_is_a_failure_for_who_cares(is_clean: bool) -> None:
    """What came before it is read first, and the end stays the end."""
    with trio.fail_after(5):
        client, server = await tls_pair()
        server.write_nowait(b"hello")
        if is_clean:
            server.close()
        else:
            server._inner.close()
        assert await read_some(client) == b"hello"
        for _ in range(2):
            assert await read_some(client) == b""
        assert (client.failure is None) is is_clean
        client.close()


async def test_an_idle_connection_with_session_tickets_is_silent_until_it_ends() -> None:
    """The tickets of TLS 1.3 make the socket readable; a FIN behind them is found by the same read."""
    with trio.fail_after(5):
        client, server = await tls_pair()
        await trio.sleep(0.01)
        assert client.read_nowait() is None
        server.close()
        await trio.sleep(0.01)
        assert client.read_nowait() == b""
        client.close()


async def test_write_eof_says_so_and_reading_goes_on() -> None:
    """The other direction stays open."""
    with trio.fail_after(5):
        client, server = await tls_pair()
        server.write_eof()
        assert await read_some(client) == b""
        client.write_nowait(b"still here")
        assert await read_some(server) == b"still here"
        client.close()
        server.close()
