"""What every request of one relay shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.config import Settings
    from relay_trio.pool.admission import Admission
    from relay_trio.relay.live import LiveRequests
    from relay_trio.upstream.client import UpstreamClient


@dataclass(frozen=True, slots=True)
class Relay:
    """The pool's door, the client towards upstreams, and the requests that are open."""

    settings: Settings
    admission: Admission
    client: UpstreamClient
    live: LiveRequests
