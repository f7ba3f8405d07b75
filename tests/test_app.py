"""The whole relay from its settings: what it opens, the order in which it ends, and cancellation at every moment."""

from __future__ import annotations

import gc
import socket
import ssl
from contextlib import closing
from pathlib import Path  # noqa: TC003 -- pytest reads the annotation
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from relay_trio.app import connection_limits, open_relay, run_relay
from relay_trio.config import Settings
from relay_trio.errors import UpstreamConnectError
from relay_trio.http import UpstreamRequest
from relay_trio.server.drain import Drain
from relay_trio.settings import UpstreamSettings
from relay_trio.storage.lock import sole_writer
from relay_trio.upstream.client import open_client

if TYPE_CHECKING:
    from relay_trio.app import Bound


def settings(folder: Path, *, server: dict[str, Any] | None = None, **sections: Any) -> Settings:
    plain = {"listeners": ["127.0.0.1:0"], "ledger": str(folder / "relay.db"), "drain_seconds": 0.2}
    account = {"name": "a", "provider": "anthropic", "api_key": "sk-a", "max_concurrency": 2, "weight": 3}
    return Settings.model_validate(
        {"admin": {"listener": "127.0.0.1:0"}, "account": [account], **sections, "server": plain | (server or {})}
    )


async def get(url: str, path: str) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return b"".join([part async for part in stream])


async def test_it_listens_drains_and_leaves_nothing(tmp_path: Path) -> None:
    """The admin listener answers for as long as there is something to ask about."""
    with trio.fail_after(10):
        async with open_relay(settings(tmp_path)) as relay:
            drain = Drain()
            async with trio.open_nursery() as nursery:
                bound: Bound = await nursery.start(run_relay, relay, drain)
                (client_url,) = bound.client_urls
                assert b" 200 " in await get(client_url, "/healthz")
                assert b" 200 " in await get(bound.admin_url, "/readyz")
                drain.begin()
            for url in (client_url, bound.admin_url):
                with pytest.raises(OSError, match="all attempts to connect"):
                    await get(url, "/healthz")
        with sole_writer(tmp_path / "relay.db"):
            """The ledger was let go."""


async def test_an_account_is_made_from_each_section_with_its_own_times_over_the_general_ones(tmp_path: Path) -> None:
    accounts = [
        {"name": name, "provider": "anthropic", "api_key": f"sk-{name}", "max_concurrency": slots, **more}
        for name, slots, more in (("a", 1, {}), ("b", 2, {"idle_timeout_seconds": 7}))
    ]
    async with open_relay(settings(tmp_path, account=accounts, timeouts={"idle_timeout_seconds": 5})) as relay:
        made = relay.core.pool.accounts
        assert [(account.name, account.timeouts.idle_timeout_seconds) for account in made] == [("a", 5), ("b", 7)]


def test_the_relays_own_limits_on_a_body_act_before_those_of_the_connection(tmp_path: Path) -> None:
    """So that a slow body is refused in dialect and has its row."""
    general = settings(tmp_path, server={"http2": False})
    limits = connection_limits(general)
    assert limits.body_idle_timeout_seconds > general.timeouts.body_idle_timeout_seconds
    assert limits.body_total_timeout_seconds > general.timeouts.body_total_timeout_seconds
    assert not limits.http2


async def test_the_configured_trust_and_proxy_are_used(tmp_path: Path) -> None:
    """A request for an https origin asks the proxy for a tunnel, and trusts nobody but the CA behind it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    seen: list[bytes] = []

    async def proxy(stream: trio.SocketStream) -> None:
        seen.append(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("upstream.test").configure_cert(context)
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(stream, context, server_side=True).do_handshake()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    configured = UpstreamSettings.model_validate(
        {"ca_file": str(tmp_path / "ca.pem"), "proxy": f"http://user:word@127.0.0.1:{port}"}
    )
    request = UpstreamRequest("GET", "https", "upstream.test", 443, b"/", [], b"")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, open_client(configured) as client:
            nursery.start_soon(trio.serve_listeners, proxy, [listener])
            with pytest.raises(UpstreamConnectError) as caught:
                async with client.open(request, lambda phase: None):
                    pass
            nursery.cancel_scope.cancel()
    assert seen[0].startswith(b"CONNECT upstream.test:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic dXNlcjp3b3Jk\r\n" in seen[0]
    assert "word" not in repr(configured)
    assert "certificate" in str(caught.value)


@pytest.mark.parametrize("taken", ["server", "admin"])
async def test_a_port_in_use_is_an_error_and_nothing_stays_open(tmp_path: Path, taken: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as holder, trio.fail_after(10):
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        chosen = {"server": {"listeners": [address]}} if taken == "server" else {"admin": {"listener": address}}
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with open_relay(settings(tmp_path, **chosen)) as relay, trio.open_nursery() as nursery:
                await nursery.start(run_relay, relay, Drain())
    gc.collect()
    with sole_writer(tmp_path / "relay.db"):
        """The ledger was let go."""


@pytest.mark.parametrize("after_seconds", [0.0, 0.001, 0.003, 0.01, 0.03, 0.1])
async def test_a_cancel_at_any_moment_of_the_start_leaves_nothing_open(tmp_path: Path, after_seconds: float) -> None:
    with trio.fail_after(10):
        with trio.move_on_after(after_seconds):
            async with open_relay(settings(tmp_path)) as relay:
                await run_relay(relay, Drain())
        with sole_writer(tmp_path / "relay.db"):
            """The ledger was let go; sockets left open would be warnings, which are errors here."""
