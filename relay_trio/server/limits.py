"""What one client may cost: seconds, bytes and counts. Each limit names its reason or its precedent.

Plain values, so that the tests can shrink one and the configuration can set one; nothing here reads a file.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

KIB = 1024


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """Options of the listening socket, which accepted sockets inherit (Linux): they find clients that vanish silently.

    Keep-alive probes work only while nothing is in flight; with unacknowledged bytes only ``TCP_USER_TIMEOUT`` acts.
    """

    keepalive_idle_seconds: int = 30
    keepalive_interval_seconds: int = 10
    keepalive_probes: int = 3
    user_timeout_seconds: float = 30.0
    # Bytes the kernel takes beyond what the client's window lets it send. Without it a client that stops reading
    # costs up to tcp_wmem[2] (4 MiB) of kernel memory, and the relay would count as sent what never left.
    unsent_bytes: int = 64 * KIB

    def apply(self, sock: socket.socket) -> None:
        """Set them on a listening socket; options this platform lacks are left out."""
        if sock.family == getattr(socket, "AF_UNIX", None):
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_NODELAY", 1),
            ("TCP_KEEPIDLE", self.keepalive_idle_seconds),
            ("TCP_KEEPINTVL", self.keepalive_interval_seconds),
            ("TCP_KEEPCNT", self.keepalive_probes),
            ("TCP_USER_TIMEOUT", int(self.user_timeout_seconds * 1000)),
            ("TCP_NOTSENT_LOWAT", self.unsent_bytes),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of one connection."""

    handshake_timeout_seconds: float = 10.0
    head_timeout_seconds: float = 10.0  # slowloris; nginx 60, HAProxy 10 in its examples
    body_idle_timeout_seconds: float = 30.0  # between two reads of a request body
    body_total_timeout_seconds: float = 120.0
    write_timeout_seconds: float = 30.0  # without a single byte taken by the client; nginx send_timeout 60
    # nginx 75; but agents think, and run tools, for minutes between two requests, and write into a closing socket then.
    keep_alive_timeout_seconds: float = 400.0
    linger_seconds: float = 5.0  # reading on after our last byte, so that no RST eats it; nginx lingering_timeout 5
    drain_linger_seconds: float = 1.0  # the same during a drain, which is not to wait for clients that do not close
    linger_total_seconds: float = 30.0  # nginx lingering_time 30
    max_head_bytes: int = 32 * KIB
    max_head_fields: int = 100
    max_pipelined_bytes: int = 64 * KIB  # read while a response runs; more stays in the kernel until it ended
    max_body_buffer_bytes: int = 64 * KIB  # of a request body the application has not taken yet
    max_discard_bytes: int = 256 * KIB  # of a body that came too late; more closes the connection instead
    http2: bool = True
    h2_max_streams: int = 100
    h2_stream_window_bytes: int = 128 * KIB
    h2_connection_window_bytes: int = 1024 * KIB
    h2_reset_burst: int = 200  # CVE-2023-44487; nghttp2 allows 1000 at once and 33/s
    h2_reset_per_second: float = 33.0
    h2_control_burst: int = 500  # PING, SETTINGS, PRIORITY, empty DATA ... (CVE-2019-9511 to 9518)
    h2_control_per_second: float = 50.0
    max_connections: int | None = None  # None: half of the process's file descriptors; beyond it, idle ones go


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where to listen, and how.

    ``listeners`` are ``host:port``, ``[v6]:port``, ``unix:/path`` or ``fd://n``. With ``tls_cert`` and ``tls_key``
    (paths) all of them speak TLS.
    """

    listeners: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    backlog: int = 1024
    socket_options: SocketOptions = field(default_factory=SocketOptions)
