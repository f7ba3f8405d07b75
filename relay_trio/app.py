"""The whole relay from its settings: every part made once, in the order in which they depend on each other.

::

    open_relay    ledger ─► keys ─► accounts, admission ─► upstream client ─► core ─► applications
    run_relay     the same, listening, until a drain has ended: refuse, wait, send an error, cancel
    App.replace   other settings for what begins from now on
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from relay_trio.config import ConfigError, Problem, start_problems
from relay_trio.config.current import CurrentSettings
from relay_trio.config.reload import fixed_problems
from relay_trio.errors import RelayError, ShuttingDown
from relay_trio.keys.ring import open_key_ring
from relay_trio.ledger.prices import load_price_lists
from relay_trio.ledger.writer import open_ledger
from relay_trio.observe.log import log_defect
from relay_trio.pool.account import Account
from relay_trio.pool.admission import Admission
from relay_trio.pool.health import Health
from relay_trio.pool.policy import LeastLoaded
from relay_trio.pool.pool import Pool
from relay_trio.pool.slots import SlotTable
from relay_trio.relay.core import Relay
from relay_trio.relay.events import BAD_HEAD, Events, Rejection
from relay_trio.relay.live import LiveRequests
from relay_trio.relay.model_catalog import ModelCatalog
from relay_trio.relay.retry import RetryBudget
from relay_trio.server.context import ServerState
from relay_trio.server.drain import Drain
from relay_trio.server.limits import ConnectionLimits, ListenSettings, SocketOptions
from relay_trio.server.listen import serve
from relay_trio.storage.storage_error import StorageError
from relay_trio.upstream.client import open_client
from relay_trio.upstream.egress import Egress, egress_of
from relay_trio.vendors.registry import LISTINGS, provider_named
from relay_trio.web.admin import admin_app
from relay_trio.web.quart_app import client_app

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterable, Sequence

    from relay_trio.config import Settings
    from relay_trio.keys.ring import KeyRing
    from relay_trio.ledger.writer import Ledger
    from relay_trio.relay.events import Observer


_AFTER_THE_RELAY_SECONDS = 1.0
"""The relay answers a slow body itself, in dialect and with a row; the connection's own limit stands behind that."""


@dataclass(frozen=True, slots=True)
class App:
    """One relay: its parts, each made once. ``clients`` and ``operators`` are the servers of the two applications."""

    core: Relay
    ledger: Ledger
    ring: KeyRing
    clients: ServerState
    operators: ServerState
    _replacing: trio.Lock = field(default_factory=trio.Lock, init=False)

    @property
    def settings(self) -> Settings:
        """The settings that count now."""
        return self.core.settings

    async def replace(self, settings: Settings) -> None:
        """Let ``settings`` count from now on, in place of those before.

        What has begun goes on as it began: a request keeps its limits on time, a client's connection those that it was
        accepted with, and a call its account and its way to the upstream. Everything that begins later follows
        ``settings``.

        Raises:
            ConfigError: something differs that cannot change while the relay runs, or cannot be used, or the names of
                the ledger's keys cannot be read. Nothing has changed then.

        Cancelled here: atomic.
        """
        async with self._replacing:
            try:
                stored = await self.ring.stored_names()
            except StorageError as error:
                raise ConfigError([Problem("server.ledger", f"cannot be read: {error}")]) from None
            if problems := [*fixed_problems(self.settings, settings), *start_problems(settings, stored)]:
                raise ConfigError(problems)
            egress, accounts = await trio.to_thread.run_sync(_parts_of, settings, abandon_on_cancel=True)
            if settings.upstream != self.settings.upstream:
                self.core.client.use(egress)
            self.core.current.value = settings
            self.core.admission.max_waiting = settings.queue.max_waiting
            self.core.pool.adopt(accounts)
            self.ring.replace_static(settings.key)
            self.clients.replace_limits(connection_limits(settings), socket_options(settings))


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
        pool = Pool(_accounts(settings), SlotTable())
        admission = Admission(pool, LeastLoaded(), max_waiting=settings.queue.max_waiting)
        events = Events(observers, log_defect)
        live = LiveRequests(ledger, events)
        catalog = ModelCatalog(pool, client, LISTINGS)
        core = Relay(CurrentSettings(settings), pool, admission, client, live, events, catalog, RetryBudget())
        clients = ServerState(
            client_app(core, ring),
            connection_limits(settings),
            log_defect,
            is_expected=lambda error: isinstance(error, RelayError),
            on_bad_head=lambda reason: events.request_rejected(Rejection(BAD_HEAD, reason=reason)),
        )
        yield App(core, ledger, ring, clients, ServerState(admin_app(core, ring), ConnectionLimits(), log_defect))


def _parts_of(settings: Settings) -> tuple[Egress, list[Account]]:
    """What settings are made into that takes time: certificates are read, and what an account signs with is imported.

    Raises:
        ConfigError: the certificates cannot be used.
    """
    try:
        egress = egress_of(settings.upstream)
    except OSError as error:
        raise ConfigError([Problem("upstream.ca_file", f"cannot be used: {error.strerror or error}")]) from None
    return egress, _accounts(settings)


def _accounts(settings: Settings) -> list[Account]:
    return [
        Account(
            account,
            provider_named(account.provider),
            account.timeouts_over(settings.timeouts),
            Health(settings.breaker),
        )
        for account in settings.account
    ]


async def run_relay(
    relay: App,
    drain: Drain,
    *,
    client_sockets: Sequence[socket.socket] | None = None,
    admin_sockets: Sequence[socket.socket] | None = None,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen until ``drain`` has ended: at the addresses of the settings, or on sockets that are bound already, which
    it closes.

    When it begins, new work is refused at once; open requests get ``drain_seconds``, then an error in their dialect,
    then they are cancelled. The admin listener stays until the last one is settled.

    Raises:
        OSError: a listener cannot be bound, or the certificate cannot be read.

    Cancelled here: destroys every request at once; their rows are closed.
    """
    admin_drain = Drain()
    async with trio.open_nursery() as admin_nursery:
        admin_listeners = ListenSettings(listeners=(str(relay.settings.admin.listener),))
        admin_urls = await admin_nursery.start(
            partial(serve, relay.operators, admin_listeners, drain=admin_drain, listeners=admin_sockets)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_drain, relay, drain)
            nursery.start_soon(_obey, relay, drain)
            client_listeners = listen_settings(relay.settings)
            urls = await nursery.start(
                partial(serve, relay.clients, client_listeners, drain=drain, listeners=client_sockets)
            )
            task_status.started(Bound(tuple(urls), admin_urls[0]))
            await drain.began.wait()
            await relay.core.live.wait_idle()
            drain.stop_now()
        admin_nursery.cancel_scope.cancel()


def listen_settings(settings: Settings) -> ListenSettings:
    """Where clients connect."""
    server = settings.server
    return ListenSettings(
        listeners=tuple(str(listener) for listener in server.listeners),
        tls_cert=str(server.tls_cert) if server.tls_cert else None,
        tls_key=str(server.tls_key) if server.tls_key else None,
        socket_options=socket_options(settings),
    )


def socket_options(settings: Settings) -> SocketOptions:
    """The kernel gives a client up as soon as the relay does."""
    return SocketOptions(user_timeout_seconds=settings.timeouts.write_timeout_seconds)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """How a client's connection is served. Bodies have their limits in the relay, which knows their rows."""
    timeouts = settings.timeouts
    return ConnectionLimits(
        head_timeout_seconds=timeouts.head_timeout_seconds,
        body_idle_timeout_seconds=timeouts.body_idle_timeout_seconds + _AFTER_THE_RELAY_SECONDS,
        body_total_timeout_seconds=timeouts.body_total_timeout_seconds + _AFTER_THE_RELAY_SECONDS,
        write_timeout_seconds=timeouts.write_timeout_seconds,
        http2=settings.server.http2,
    )


async def _run_drain(relay: App, drain: Drain) -> None:
    """As ``Drain.run``, for as long as the settings say when the drain begins. Cancelled here: atomic."""
    await drain.began.wait()
    await drain.run(relay.settings.server.drain_seconds)


async def _obey(relay: App, drain: Drain) -> None:
    """Cancelled here: atomic."""
    await drain.began.wait()
    relay.core.live.stop()
    await drain.expired.wait()
    relay.core.live.end_all(ShuttingDown("the relay is shutting down", retry_after=1))
