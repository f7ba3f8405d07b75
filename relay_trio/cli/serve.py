"""``relay-trio serve``: run the relay until a signal ends it."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import trio
from cyclopts import Parameter

from relay_trio import __version__
from relay_trio.app import App, Bound, open_relay, run_relay
from relay_trio.cli.listeners import unusable_of
from relay_trio.cli.print_problems import print_problems
from relay_trio.config import ConfigError, Settings, load, start_problems
from relay_trio.keys.key_store import working_key_names
from relay_trio.observe.log import Log, configure_log
from relay_trio.server.drain import Drain, obey_signals
from relay_trio.storage.storage_error import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def serve(*, config: Annotated[Path, Parameter(help="The configuration file.")] = Path("relay.toml")) -> int:
    """Run the relay. SIGTERM or Ctrl-C drains it; a second one stops it at once."""
    try:
        settings = load(config)
        stored = working_key_names(settings.server.ledger)
        if problems := start_problems(settings, stored):
            raise ConfigError(problems)
        configure_log(settings.logging.format)
        return trio.run(_serve, settings)
    except ConfigError as error:
        print_problems(config, error.problems)
    except StorageError as error:
        print(f"relay-trio: {error}", file=sys.stderr)
    except ExceptionGroup as group:
        expected, others = group.split(StorageError)
        if others is not None or expected is None:
            raise
        print(f"relay-trio: {next(_leaves(expected))}", file=sys.stderr)
    return 1


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        yield from _leaves(error) if isinstance(error, BaseExceptionGroup) else (error,)


async def _serve(settings: Settings) -> int:
    """The exit status. Cancelled here: as ``open_relay``."""
    _calm_collector()
    drain = Drain()
    async with trio.open_nursery() as signals:
        await signals.start(obey_signals, drain)  # until the last row is written
        status = await _open_and_run(settings, drain)
        signals.cancel_scope.cancel()
    return status


def _calm_collector() -> None:
    """Let Python's cycle collector run seldom, and never over what start-up made.

    By its defaults it runs every 700 allocations, which is once for each request, and now and then over the whole
    process: 78 µs per request. The only cyclic garbage here comes from exceptions, and is little.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


async def _open_and_run(settings: Settings, drain: Drain) -> int:
    """The exit status. Cancelled here: as ``open_relay``."""
    status = 0
    async with open_relay(settings, observers=[Log()]) as relay:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_print_drain, relay, drain)
                bound = await nursery.start(_run_and_leave, relay, drain, nursery.cancel_scope)
                _print_start(settings, relay, bound)
        except* BrokenPipeError:  # of our own output
            raise
        except* OSError as group:
            for error in _leaves(group):
                assert isinstance(error, OSError)
                _print_unbound(error, settings)
            status = 1
    return status


async def _run_and_leave(
    relay: App, drain: Drain, everything: trio.CancelScope, *, task_status: trio.TaskStatus[Bound]
) -> None:
    """Run the relay to its end, then cancel ``everything`` beside it. Cancelled here: as ``run_relay``."""
    await run_relay(relay, drain, task_status=task_status)
    everything.cancel()


async def _print_drain(relay: App, drain: Drain) -> None:
    """Print one line each second while streams are drained. Cancelled here: atomic."""
    await drain.began.wait()
    ends_at = trio.current_time() + relay.settings.server.drain_seconds
    while len(relay.core.live) and not drain.expired.is_set():
        left = max(0.0, ends_at - trio.current_time())
        print(f"draining {len(relay.core.live)} streams, {left:.0f} s left", file=sys.stderr)
        await trio.sleep(1)


def _print_start(settings: Settings, relay: App, bound: Bound) -> None:
    print(f"relay-trio {__version__}", file=sys.stderr)
    for url in bound.client_urls:
        print(f"  relay      {url}", file=sys.stderr)
    print(f"  admin      {bound.admin_url}", file=sys.stderr)
    print(f"  ledger     {settings.server.ledger}", file=sys.stderr)
    for account in settings.account:
        print(f"  account    {account.name}   {account.provider}   {account.max_concurrency} slots", file=sys.stderr)
    if not relay.ring.has_keys:
        print("  no client has a key yet: relay-trio keys create NAME", file=sys.stderr)


def _print_unbound(error: OSError, settings: Settings) -> None:
    unusable = unusable_of(error, settings)
    reason = f"{unusable.setting} {unusable.message}" if unusable else f"cannot start: {error.strerror or error}"
    print(f"relay-trio: {reason}", file=sys.stderr)
