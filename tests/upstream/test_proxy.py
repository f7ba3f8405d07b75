"""The configured proxy: absolute form, tunnels, refusals, and no environment."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from relay_trio.errors import RelayError, UpstreamConnectError
from relay_trio.upstream.client import open_upstream_client
from relay_trio.upstream.egress import Egress
from relay_trio.upstream.proxy import Proxy, proxy_at
from relay_trio.upstream.trust import client_context
from tests.support.upstream_scripts import OK, ScriptedConnection, answering, body_of, open_upstream, staying, talking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.upstream_scripts import Script


async def test_a_plain_request_goes_to_the_proxy_in_absolute_form() -> None:
    """With the proxy's credential, and the origin in ``host``."""
    heads = []

    async def script(connection: ScriptedConnection) -> None:
        heads.append(await connection.read_request())
        await connection.send(OK)

    async with open_upstream(script) as upstream:
        proxy = proxy_at(f"http://user:p%40ss@127.0.0.1:{upstream.port}")
        async with open_upstream_client(Egress(proxy=proxy)) as client:
            request = upstream.request(host="api.example", port=80, target=b"/v1?x=%2F")
            assert await body_of(client, request) == b"hello"
    assert heads[0].startswith(b"POST http://api.example/v1?x=%2F HTTP/1.1\r\nhost: api.example\r\n")
    assert b"\r\nproxy-authorization: Basic dXNlcjpwQHNz\r\n" in heads[0]


async def test_tls_goes_through_a_tunnel_that_is_used_again(tmp_path: Path) -> None:
    """The proxy sees host and port, and its credential does not reach the upstream."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.example").configure_cert(server)
    connects: list[bytes] = []
    requests: list[bytes] = []

    async def script(connection: ScriptedConnection) -> None:
        connects.append(await connection.read_head())
        await connection.send(b"HTTP/1.0 200 Connection established\r\n\r\n")
        inner = ScriptedConnection(
            trio.SSLStream(connection.transport, server, server_side=True, https_compatible=True), connection.transport
        )
        for _ in range(2):
            requests.append(await inner.read_request())
            await inner.send(OK)
        await inner.wait_closed()

    async with open_upstream(script) as upstream:
        proxy = Proxy("127.0.0.1", upstream.port, b"Basic abc")
        async with open_upstream_client(Egress(client_context(str(tmp_path / "ca.pem")), proxy)) as client:
            for _ in range(2):
                request = upstream.request(scheme="https", host="api.example", port=443)
                assert await body_of(client, request) == b"hello"
    assert connects == [
        b"CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\nproxy-authorization: Basic abc\r\n\r\n"
    ]
    assert all(b"proxy-auth" not in head and head.startswith(b"POST /v1") for head in requests)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (answering(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n"), "refused the tunnel with status 407"),
        (answering(), "gave no answer"),
        (answering(b"SSH-2.0\r\n\r\n"), "gave no answer"),
        (staying(b"HTTP/1.1 200 OK\r\n\r\nunasked"), "sent bytes before"),
    ],
    ids=["refuses", "closes", "is no proxy", "talks into the tunnel"],
)
async def test_a_proxy_that_gives_no_tunnel_is_a_connect_error(script: Script, reason: str) -> None:
    """Nothing was sent to the upstream; no socket is left."""
    async with (
        open_upstream(script) as upstream,
        open_upstream_client(Egress(proxy=Proxy("127.0.0.1", upstream.port))) as client,
    ):
        with pytest.raises(UpstreamConnectError, match=reason):
            await body_of(client, upstream.request(scheme="https", host="api.example", port=443))
        assert client.statistics().opened_total == 0


async def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY of the shell must not see the operator's credentials."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with talking(staying(OK)) as (upstream, client):
        assert await body_of(client, upstream.request()) == b"hello"


@pytest.mark.parametrize(
    "url",
    ["proxy:3128", "https://proxy:3128", "http://proxy", "http://:3128", "http://u:secret@proxy:x", "http://a b:1"],
)
def test_a_bad_proxy_url_is_refused_without_repeating_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(RelayError) as caught:
        proxy_at(url)
    assert "secret" not in caught.value.message


def test_a_proxy_does_not_show_its_credential() -> None:
    """Not in a log line, not in a traceback."""
    assert "dXNl" not in repr(proxy_at("http://user:pass@proxy:3128"))
