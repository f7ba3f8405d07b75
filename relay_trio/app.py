"""The whole relay from its settings: every part made once, in the order in which they depend on each other.

::

    open_relay    ledger ─► keys ─► accounts, admission ─► upstream client ─► core ─► applications
    run_relay     the same, listening, until a drain has ended: refuse, wait, tell, cancel
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from relay_trio.errors import RelayError, ShuttingDown
from relay_trio.keys.ring import open_key_ring
from relay_trio.ledger.prices import load_price_lists
from relay_trio.ledger.writer import open_ledger
from relay_trio.observe.log import log_defect
from relay_trio.pool.account import Account
from relay_trio.pool.admission import Admission
from relay_trio.pool.health import Health
from relay_trio.pool.slots import SlotTable
from relay_trio.relay.core import Relay
from relay_trio.relay.events import BAD_HEAD, Events, Rejection
from relay_trio.relay.live import LiveRequests
from relay_trio.server.drain import Drain
from relay_trio.server.limits import ConnectionLimits, ListenSettings, SocketOptions
from relay_trio.server.listen import serve
from relay_trio.upstream.client import open_client
from relay_trio.vendors.registry import provider_named
from relay_trio.web.admin import admin_app
from relay_trio.web.app import client_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from quart_trio import QuartTrio

    from relay_trio.config import Settings
    from relay_trio.keys.ring import KeyRing
    from relay_trio.ledger.writer import Ledger
    from relay_trio.relay.events import Observer


_AFTER_THE_RELAY_SECONDS = 1.0
"""The relay answers a slow body itself, in dialect and with a row; the connection's own limit stands behind that."""


@dataclass(frozen=True, slots=True)
class App:
    """One relay, not listening yet."""

    settings: Settings
    core: Relay
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
async def open_relay(settings: Settings, *, observers: Iterable[Observer] = ()) -> AsyncIterator[App]:
    """Everything but sockets. Leaving it writes what the ledger still holds and closes idle upstream connections.

    ``observers`` hear of what happens in it; an error of theirs is logged as a defect.

    Raises:
        StorageError: the ledger cannot be opened.

    Cancelled here: not cancellable while the ledger writes its last rows (its own bound).
    """
    load_price_lists()  # here, where nobody is served yet
    async with open_ledger(settings.server.ledger) as ledger, open_client(settings.upstream) as client:
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
        events = Events(observers, log_defect)
        core = Relay(settings, admission, client, LiveRequests(ledger, events), events)
        yield App(settings, core, ledger, ring, client_app(core, ring), admin_app(core))


async def run_relay(
    relay: App, drain: Drain, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED
) -> None:
    """Listen until ``drain`` has ended.

    When it begins, new work is refused at once; open requests get ``drain_seconds``, then an error in their dialect,
    then they are cancelled. The admin listener stays until the last one is settled.

    Raises:
        OSError: a listener cannot be bound, or the certificate cannot be read.

    Cancelled here: destroys every request at once; their rows are closed.
    """
    server, admin_drain = relay.settings.server, Drain()
    async with trio.open_nursery() as admin_nursery:
        admin_listeners = ListenSettings(listeners=(str(relay.settings.admin.listener),))
        serve_admin = partial(serve, relay.admin_app, admin_listeners, drain=admin_drain, on_error=log_defect)
        admin_urls = await admin_nursery.start(serve_admin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain.run, server.drain_seconds)
            nursery.start_soon(_obey, relay, drain)
            client_listeners = client_settings(relay.settings)
            serve_clients = partial(
                serve,
                relay.client_app,
                client_listeners,
                drain=drain,
                on_error=log_defect,
                is_expected=lambda error: isinstance(error, RelayError),
                on_bad_head=lambda reason: relay.core.events.request_rejected(Rejection(BAD_HEAD, reason=reason)),
            )
            urls = await nursery.start(serve_clients)
            task_status.started(Bound(tuple(urls), admin_urls[0]))
            await drain.began.wait()
            await relay.core.live.wait_idle()
            drain.stop_now()
        admin_nursery.cancel_scope.cancel()


def client_settings(settings: Settings) -> ListenSettings:
    """How the client listeners are served. Bodies have their limits in the relay, which knows their rows."""
    server, timeouts = settings.server, settings.timeouts
    limits = ConnectionLimits(
        head_timeout_seconds=timeouts.head_timeout_seconds,
        body_idle_timeout_seconds=timeouts.body_idle_timeout_seconds + _AFTER_THE_RELAY_SECONDS,
        body_total_timeout_seconds=timeouts.body_total_timeout_seconds + _AFTER_THE_RELAY_SECONDS,
        write_timeout_seconds=timeouts.write_timeout_seconds,
        continue_on_receive=False,
        http2=server.http2,
    )
    return ListenSettings(
        listeners=tuple(str(listener) for listener in server.listeners),
        tls_cert=str(server.tls_cert) if server.tls_cert else None,
        tls_key=str(server.tls_key) if server.tls_key else None,
        limits=limits,
        socket_options=SocketOptions(user_timeout_seconds=timeouts.write_timeout_seconds),
    )


async def _obey(relay: App, drain: Drain) -> None:
    """Cancelled here: atomic."""
    await drain.began.wait()
    relay.core.live.stop()
    await drain.expired.wait()
    relay.core.live.end_all(ShuttingDown("the relay is shutting down", retry_after=1))
