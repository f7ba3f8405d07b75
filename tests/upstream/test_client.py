"""Opening exchanges: reuse, the one retry, phases, connect errors, and what the figures say."""

from __future__ import annotations

import socket

import pytest
import trio

from relay_trio.errors import RelayError, UpstreamClosed, UpstreamConnectError
from relay_trio.outcome import Phase
from relay_trio.upstream.client import open_upstream_client
from relay_trio.upstream.egress import Egress
from relay_trio.upstream.proxy import Proxy
from tests.support.upstream_scripts import (
    OK,
    ScriptedConnection,
    answering,
    body_of,
    ignore_phase,
    open_upstream,
    staying,
    talking,
)


async def test_phases_are_told_in_order() -> None:
    """CONNECTING only when a connection is opened; HEAD each time, before the request goes out."""
    async with talking(staying(OK, times=2)) as (upstream, client):
        for expected in ([Phase.CONNECTING, Phase.HEAD], [Phase.HEAD]):
            phases: list[Phase] = []
            async with client.open(upstream.request(), phases.append) as response:
                assert phases == expected
                while await response.receive_some():
                    pass


async def test_the_fields_of_the_egress_are_in_every_request() -> None:
    heads = []

    async def script(connection: ScriptedConnection) -> None:
        heads.append(await connection.read_request())
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with talking(script, egress=Egress(fields=b"user-agent: acme\r\n")) as (upstream, client):
        await body_of(client, upstream.request())
    assert b"\r\nuser-agent: acme\r\n" in heads[0]


async def test_statistics_follow_an_exchange() -> None:
    """In flight, idle, opened, reused."""
    async with talking(staying(OK, times=2)) as (upstream, client):
        async with client.open(upstream.request(), ignore_phase):
            inside = client.statistics()
        assert (inside.open_connections, inside.idle_connections, inside.calls) == (1, 0, 1)
        await body_of(client, upstream.request())
        after = client.statistics()
        assert (after.open_connections, after.idle_connections, after.calls) == (1, 1, 0)
        assert (after.opened_total, after.reused_total, after.stale_retries_total) == (1, 1, 0)


async def test_simultaneous_exchanges_have_a_connection_each() -> None:
    """No queue: nobody waits for somebody else's connection."""
    async with talking(staying(OK, times=2)) as (upstream, client):
        async with client.open(upstream.request(), ignore_phase), client.open(upstream.request(), ignore_phase):
            assert client.statistics().open_connections == 2
        assert upstream.accepted == 2


async def test_an_idle_connection_that_the_upstream_closed_is_not_used() -> None:
    """It is seen before the request goes out: no retry is needed."""
    async with talking(answering(OK), staying(OK)) as (upstream, client):
        await body_of(client, upstream.request())
        await trio.sleep(0.02)
        await body_of(client, upstream.request())
        assert client.statistics().stale_retries_total == 0
        assert upstream.accepted == 2


async def test_an_idle_connection_with_unasked_bytes_is_not_used() -> None:
    """They would be taken for the next answer."""
    async with talking(staying(OK, OK), staying(OK)) as (upstream, client):
        await body_of(client, upstream.request())
        await trio.sleep(0.02)
        assert client.statistics().idle_connections == 1
        await body_of(client, upstream.request())
        assert upstream.accepted == 2


async def dies_at_the_second_request(connection: ScriptedConnection) -> None:
    """An upstream whose idle timeout meets the next request: it reads, and closes without a word."""
    await connection.read_request()
    await connection.send(OK)
    await connection.read_request()
    connection.close()


@pytest.mark.parametrize("size", [2, 20_000_000])
async def test_a_reused_connection_that_dies_before_its_answer_is_tried_again_once(size: int) -> None:
    """Also a POST, on a fresh connection, with the phases of a new attempt."""
    async with talking(dies_at_the_second_request, staying(OK)) as (upstream, client):
        await body_of(client, upstream.request())
        phases: list[Phase] = []
        async with client.open(upstream.request(body=b"x" * size), phases.append) as response:
            assert await response.receive_some() == b"hello"
        assert phases == [Phase.HEAD, Phase.CONNECTING, Phase.HEAD]
        assert client.statistics().stale_retries_total == 1
        assert client.statistics().open_connections == 1


async def test_the_retry_is_not_tried_again() -> None:
    """Once: an upstream that closes on every request is not asked for ever, whatever else is idle."""
    async with talking(dies_at_the_second_request, dies_at_the_second_request, answering()) as (upstream, client):
        async with (
            client.open(upstream.request(), ignore_phase) as one,
            client.open(upstream.request(), ignore_phase) as two,
        ):
            assert await one.receive_some() == await two.receive_some() == b"hello"
        assert client.statistics().idle_connections == 2
        with pytest.raises(UpstreamClosed):
            await body_of(client, upstream.request())
        assert upstream.accepted == 3


async def test_a_reused_connection_that_dies_after_a_byte_is_not_tried_again() -> None:
    """The upstream had begun to answer."""

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_request()
        await connection.send(OK)
        await connection.read_request()
        await connection.send(b"H")
        connection.close()

    async with talking(script, staying(OK)) as (upstream, client):
        await body_of(client, upstream.request())
        with pytest.raises(UpstreamClosed):
            await body_of(client, upstream.request())
        assert upstream.accepted == 1


async def test_an_exception_in_the_block_closes_the_connection() -> None:
    """Even when the answer was whole: nobody knows what went wrong."""
    async with talking(staying(OK)) as (upstream, client):
        with pytest.raises(KeyError):
            async with client.open(upstream.request(), ignore_phase) as response:
                assert await response.receive_some() == b"hello"
                raise KeyError
        assert client.statistics().open_connections == 0


async def test_nobody_listening_is_a_connect_error() -> None:
    """The message names the upstream."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with open_upstream(staying()) as upstream, open_upstream_client() as client:
            with pytest.raises(UpstreamConnectError, match=f"cannot connect to 127.0.0.1:{port}"):
                await body_of(client, upstream.request(port=port))


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
async def test_a_name_without_an_address_is_a_connect_error(error: Exception) -> None:
    """Whatever the resolver makes of it."""

    async def fail(host: str, port: int) -> trio.abc.Stream:
        raise error

    async with open_upstream(staying()) as upstream, open_upstream_client(open_stream=fail) as client:
        with pytest.raises(UpstreamConnectError, match=r"cannot connect to nowhere\.invalid"):
            await body_of(client, upstream.request(host="nowhere.invalid"))


async def test_a_request_that_must_not_go_out_opens_nothing() -> None:
    """It is the relay's own fault, and is seen before anything else happens."""
    async with talking(staying(OK)) as (upstream, client):
        with pytest.raises(RelayError) as caught:
            await body_of(client, upstream.request(headers=[(b"x", b"a\r\nb: c")]))
        assert type(caught.value) is RelayError
        assert client.statistics().opened_total == 0


async def test_leaving_the_client_closes_idle_connections() -> None:
    """And an exception out of its block comes out as it is."""
    closed = trio.Event()

    async def script(connection: ScriptedConnection) -> None:
        await staying(OK)(connection)
        closed.set()

    async with open_upstream(script) as upstream:
        with pytest.raises(KeyError):
            async with open_upstream_client() as client:
                await body_of(client, upstream.request())
                assert client.statistics().idle_connections == 1
                raise KeyError
        assert client.statistics().open_connections == 0
        await closed.wait()


async def test_an_idle_connection_expires_without_traffic() -> None:
    """One task for all of them closes it."""
    closed = trio.Event()

    async def script(connection: ScriptedConnection) -> None:
        await staying(OK)(connection)
        closed.set()

    async with talking(script, idle_expiry_seconds=0.05) as (upstream, client):
        await body_of(client, upstream.request())
        await closed.wait()
        assert client.statistics().open_connections == 0


async def test_ipv6_is_spoken() -> None:
    """The host header has brackets."""
    heads = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            heads.append(await stream.receive_some())
            await stream.send_all(OK)

    async with open_upstream(staying()) as upstream, trio.open_nursery() as nursery, open_upstream_client() as client:
        try:
            [listener] = await trio.open_tcp_listeners(0, host="::1")
        except OSError:
            pytest.skip("no IPv6 here")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        assert await body_of(client, upstream.request(host="::1", port=port)) == b"hello"
        nursery.cancel_scope.cancel()
    assert b"\r\nhost: [::1]:%d\r\n" % port in heads[0]


async def test_another_egress_counts_from_the_next_call_on() -> None:
    """An idle connection of the former one is closed, and one that is in use is not kept."""
    heads: list[bytes] = []

    async def proxy(connection: ScriptedConnection) -> None:
        heads.append(await connection.read_request())
        await connection.send(OK)
        await connection.wait_closed()

    async with talking(staying(OK), staying(OK)) as (upstream, client), open_upstream(proxy) as other:
        await body_of(client, upstream.request())
        assert client.statistics().idle_connections == 1
        client.use(Egress())
        assert client.statistics().open_connections == 0
        async with client.open(upstream.request(), ignore_phase) as response:
            client.use(Egress(proxy=Proxy("127.0.0.1", other.port)))
            assert client.statistics().open_connections == 1
            while await response.receive_some():
                pass
        assert client.statistics().open_connections == 0
        await body_of(client, upstream.request())
        assert heads[0].startswith(b"POST http://127.0.0.1:")
        assert client.statistics().idle_connections == 1


async def test_a_call_that_connects_while_the_egress_changes_ends_as_it_began() -> None:
    """Its head was written for one way out; it must not go another."""
    async with talking(staying(OK)) as (upstream, client):

        def on_phase(phase: Phase) -> None:
            if phase is Phase.CONNECTING:
                client.use(Egress(proxy=Proxy("127.0.0.1", 9)))

        async with client.open(upstream.request(), on_phase) as response:
            while await response.receive_some():
                pass
        assert upstream.accepted == 1
        assert client.statistics().open_connections == 0
