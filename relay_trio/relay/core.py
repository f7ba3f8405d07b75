"""What every request of one relay shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.config import Settings
    from relay_trio.config.current import CurrentSettings
    from relay_trio.pool.admission import Admission
    from relay_trio.pool.pool import Pool
    from relay_trio.relay.events import Events
    from relay_trio.relay.live import LiveRequests
    from relay_trio.relay.model_catalog import ModelCatalog
    from relay_trio.relay.retry import RetryBudget
    from relay_trio.upstream.client import UpstreamClient


@dataclass(frozen=True, slots=True)
class Relay:
    """What a request needs that is not its own: one of each."""

    current: CurrentSettings
    pool: Pool
    admission: Admission
    client: UpstreamClient
    live: LiveRequests
    events: Events
    catalog: ModelCatalog
    retry_budget: RetryBudget

    @property
    def settings(self) -> Settings:
        """The settings that count now."""
        return self.current.value
