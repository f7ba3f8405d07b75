"""TLS towards an upstream: who is trusted.

The certificate chain and the host name are always checked; there is no switch. Trust is the system's store, or a CA
file by configuration, which then is the only trust.
"""

from __future__ import annotations

import ssl
from functools import lru_cache


@lru_cache(maxsize=8)
def client_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The one context for all connections (making one reads the trust store: tens of milliseconds).

    Raises:
        OSError: ``ca_file`` cannot be read or holds no certificates (``ssl.SSLError`` is one).
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context
