"""TLS towards upstreams: who is trusted, how it ends, and that session tickets do not look like an answer."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from relay_trio.errors import UpstreamClosed, UpstreamConnectError
from relay_trio.upstream.egress import Egress
from relay_trio.upstream.trust import client_context
from tests.support.upstream_scripts import OK, ScriptedConnection, answering, body_of, ignore_phase, staying, talking

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY = trustme.CA()


def server_context(*names: str, authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def trust(tmp_path: Path) -> ssl.SSLContext:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return client_context(str(path))


async def test_a_trusted_upstream_is_spoken_to_and_its_connection_kept(trust: ssl.SSLContext) -> None:
    """Session tickets that come after the handshake do not make an idle connection look used."""
    server = server_context("localhost")
    async with talking(staying(OK, times=3), tls=server, egress=Egress(trust)) as (upstream, client):
        for _ in range(3):
            assert await body_of(client, upstream.request()) == b"hello"
            await trio.sleep(0.01)
        assert upstream.accepted == 1


async def test_a_large_body_travels_both_ways(trust: ssl.SSLContext) -> None:
    """More than one record, more than the socket takes at once."""
    body = bytes(range(256)) * 20_000

    async def script(connection: ScriptedConnection) -> None:
        request = await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + request[-len(body) :])
        await connection.wait_closed()

    async with talking(script, tls=server_context("localhost"), egress=Egress(trust)) as (upstream, client):
        assert await body_of(client, upstream.request(body=body)) == body
        assert client.statistics().idle_connections == 1


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name"])
async def test_an_untrusted_upstream_is_a_connect_error_and_reads_nothing(trust: ssl.SSLContext, fault: str) -> None:
    """There is no switch to go on; no socket is left."""
    name, authority = ("other", AUTHORITY) if fault == "wrong name" else ("localhost", trustme.CA())
    requests = []

    async def script(connection: ScriptedConnection) -> None:
        with pytest.raises(trio.BrokenResourceError):
            requests.append(await connection.read_request())

    server = server_context(name, authority=authority)
    async with talking(script, tls=server, egress=Egress(trust)) as (upstream, client):
        with pytest.raises(UpstreamConnectError, match=r"no TLS connection to localhost:\d+: .*(self|unable|mismatch)"):
            await body_of(client, upstream.request())
        assert client.statistics().opened_total == 0
    assert not requests


async def test_plain_http_on_a_tls_port_is_a_connect_error(trust: ssl.SSLContext) -> None:
    """And so is a connection that closes in the handshake."""

    async def speaks_plainly(connection: ScriptedConnection) -> None:
        await connection.stream.receive_some()
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def closes(connection: ScriptedConnection) -> None:
        await connection.stream.receive_some()

    for script in (speaks_plainly, closes):
        async with talking(script, egress=Egress(trust)) as (upstream, client):
            with pytest.raises(UpstreamConnectError, match="no TLS connection"):
                await body_of(client, upstream.request(scheme="https", host="localhost"))


async def test_an_unclean_end_after_a_whole_answer_is_fine(trust: ssl.SSLContext) -> None:
    """Many servers never send close_notify; the answer's own framing is the proof. The connection is not used again."""
    async with talking(answering(OK), tls=server_context("localhost"), egress=Egress(trust)) as (upstream, client):
        assert await body_of(client, upstream.request()) == b"hello"
        await trio.sleep(0.02)
        assert await body_of(client, upstream.request()) == b"hello"
        assert upstream.accepted == 2
        assert client.statistics().stale_retries_total == 0


@pytest.mark.parametrize("is_clean", [True, False])
async def test_a_body_that_ends_with_the_connection_needs_close_notify(trust: ssl.SSLContext, is_clean: bool) -> None:
    """Without it, the end may be an attacker's."""

    async def script(connection: ScriptedConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        if is_clean:
            assert isinstance(connection.stream, trio.SSLStream)
            await connection.transport.send_all(_close_notify(connection.stream))
        connection.close()

    server = server_context("localhost")
    async with (
        talking(script, tls=server, egress=Egress(trust)) as (upstream, client),
        client.open(upstream.request(), ignore_phase) as response,
    ):
        assert await response.receive_some() == b"hello"
        if is_clean:
            assert await response.receive_some() == b""
        else:
            with pytest.raises(UpstreamClosed, match="close_notify"):
                await response.receive_some()


def _close_notify(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    with pytest.raises(ssl.SSLWantReadError):
        stream._ssl_object.unwrap()
    return stream._outgoing.read()


async def test_a_stall_in_the_handshake_can_be_cancelled_and_leaves_no_socket(trust: ssl.SSLContext) -> None:
    """The deadline is the caller's."""
    noticed = trio.Event()

    async def script(connection: ScriptedConnection) -> None:
        await connection.wait_closed()
        noticed.set()

    async with talking(script, egress=Egress(trust)) as (upstream, client):
        with trio.move_on_after(0.05) as scope:
            await body_of(client, upstream.request(scheme="https", host="localhost"))
        assert scope.cancelled_caught
        await noticed.wait()


def test_the_default_trust_is_the_systems() -> None:
    """Names and chains are always checked; nothing below TLS 1.2, no renegotiation."""
    context = client_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert client_context() is context


def test_a_missing_ca_file_is_an_error_at_once(tmp_path: Path) -> None:
    """Not at the first request."""
    with pytest.raises(OSError, match="No such file"):
        client_context(str(tmp_path / "missing.pem"))
