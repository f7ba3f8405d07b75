"""How requests leave for the upstreams: whom connections trust, through which proxy, and under which name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_trio.upstream.proxy import Proxy, proxy_at
from relay_trio.upstream.trust import client_context

if TYPE_CHECKING:
    import ssl

    from relay_trio.settings import UpstreamSettings


@dataclass(frozen=True, slots=True, eq=False)
class Egress:
    """``ssl_context`` None: trust the system's store, which is read when it is first needed. ``fields`` are header
    lines of every request, such as ``b"user-agent: relay-trio/1.0\\r\\n"``."""

    ssl_context: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    fields: bytes = b""


def egress_of(settings: UpstreamSettings) -> Egress:
    """As it is configured.

    Raises:
        OSError: ``ca_file`` cannot be read or holds no certificates.
    """
    return Egress(
        client_context(str(settings.ca_file)) if settings.ca_file else None,
        proxy_at(settings.proxy.get_secret_value()) if settings.proxy else None,
        f"user-agent: {settings.user_agent}\r\n".encode("ascii"),
    )
