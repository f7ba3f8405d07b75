from __future__ import annotations

import socket

import pytest
import trio

from relay_trio.outcome import DisconnectReason
from relay_trio.server.limits import SocketOptions
from tests.server.serving import open_server
from tests.server.test_http1 import get


def test_options_reach_accepted_sockets() -> None:
    """Vanished clients: probes while nothing is in flight, TCP_USER_TIMEOUT while something is (FAULTS C18)."""
    with socket.socket() as listener:
        SocketOptions(user_timeout_seconds=2.5).apply(listener)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.e2e
async def test_a_client_whose_window_stays_shut_is_found_by_the_kernel() -> None:
    """With a write timeout out of reach only TCP_USER_TIMEOUT can end it; a closed window counts as vanished."""
    with trio.fail_after(15):
        options = SocketOptions(user_timeout_seconds=1.0)
        async with open_server(options=options, write_timeout_seconds=60) as served:
            client = await served.connect(rcvbuf=4096)
            await client.send(get(b"flood"))
            await served.app.until(lambda: bool(served.app.losses))
            assert served.app.losses[0][1] == DisconnectReason.LEFT
