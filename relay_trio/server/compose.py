"""The whole relay from its settings: every part made once, in the order in which they depend on each other.

::

    open_relay    ledger ─► keys ─► accounts, admission ─► upstream client ─► core ─► applications
    run_relay     the same, listening; stopped by an event: refuse, drain, tell, cancel
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from relay_trio.accounts.account import Account
from relay_trio.accounts.admission import Admission
from relay_trio.accounts.health import Health
from relay_trio.accounts.keys import open_key_ring
from relay_trio.errors import ShuttingDown
from relay_trio.ledger.writer import open_ledger
from relay_trio.observe.log import log_request
from relay_trio.providers.registry import provider_named
from relay_trio.relay.core import RelayCore
from relay_trio.relay.exchange import LiveExchanges
from relay_trio.server.serve import serve
from relay_trio.state.memory import SlotTable
from relay_trio.upstream.client import open_upstream_client
from relay_trio.web.admin import admin_app
from relay_trio.web.app import client_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from quart_trio import QuartTrio

    from relay_trio.accounts.keys import KeyRing
    from relay_trio.config import Settings
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.ledger.writer import Ledger

_LAST_WORDS_SECONDS = 1.0
"""After the drain: time for in-dialect errors to reach clients that read, before their connections are cut."""


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay, not listening yet."""

    settings: Settings
    core: RelayCore
    ledger: Ledger
    ring: KeyRing
    client_app: QuartTrio
    admin_app: QuartTrio


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a running relay listens."""

    client_urls: tuple[str, ...]
    admin_url: str


@asynccontextmanager
async def open_relay(
    settings: Settings, *, on_settled: Callable[[LedgerRow], None] = log_request
) -> AsyncIterator[Relay]:
    """Everything but sockets. Leaving it writes what the ledger still holds and closes idle upstream connections.

    Raises:
        DatabaseError: the ledger cannot be opened.

    Cancelled here: not cancellable while the ledger writes its last rows (its own bound).
    """
    async with open_ledger(settings.server.ledger) as ledger, open_upstream_client() as client:
        ring = await open_key_ring(settings.server.ledger, settings.key)
        accounts = [
            Account(
                account,
                provider_named(account.provider),
                account.timeouts_over(settings.timeouts),
                Health(settings.breaker),
            )
            for account in settings.account
        ]
        admission = Admission(accounts, SlotTable(), max_waiting=settings.queue.max_waiting)
        core = RelayCore(settings, admission, client, LiveExchanges(ledger, on_settled))
        yield Relay(settings, core, ledger, ring, client_app(core, ring), admin_app(core))


async def run_relay(
    relay: Relay, shutdown: trio.Event, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED
) -> None:
    """Listen until ``shutdown`` is set, then drain.

    New work is refused at once; open requests get ``drain_seconds``, then an error in their dialect. The admin listener
    stays until the last one is settled.

    Raises:
        OSError: a listener cannot be bound.

    Cancelled here: destroys every request at once; their rows are closed.
    """
    server = relay.settings.server
    certificate = (str(server.tls_cert), str(server.tls_key)) if server.tls_cert else None
    grace_seconds = server.drain_seconds + _LAST_WORDS_SECONDS
    drained = trio.Event()
    async with trio.open_nursery() as admin_nursery:
        admin = partial(serve, relay.admin_app, [relay.settings.admin.listener], grace_seconds=0.1, shutdown=drained)
        admin_urls = await admin_nursery.start(admin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, relay, shutdown)
            clients = partial(
                serve,
                relay.client_app,
                server.listeners,
                grace_seconds=grace_seconds,
                shutdown=shutdown,
                certificate=certificate,
            )
            urls = await nursery.start(clients)
            task_status.started(Bound(tuple(urls), admin_urls[0]))
        drained.set()


async def _drain(relay: Relay, shutdown: trio.Event) -> None:
    await shutdown.wait()
    live = relay.core.live
    live.stop()
    if not await live.wait_idle(relay.settings.server.drain_seconds):
        live.end_all(ShuttingDown("the relay is shutting down", retry_after=1))
