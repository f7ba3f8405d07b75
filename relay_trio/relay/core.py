"""What every request of one relay shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.config import Settings
    from relay_trio.config.current import CurrentSettings
    from relay_trio.pool.admission import Admission
    from relay_trio.relay.events import Events
    from relay_trio.relay.live import LiveRequests
    from relay_trio.upstream.client import UpstreamClient


@dataclass(frozen=True, slots=True)
class Relay:
    """Admission to the pool, the client towards upstreams, the requests that are open, and what is said of them."""

    current: CurrentSettings
    admission: Admission
    client: UpstreamClient
    live: LiveRequests
    events: Events

    @property
    def settings(self) -> Settings:
        """The settings that count now."""
        return self.current.value
