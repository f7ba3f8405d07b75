"""The values that a configuration amounts to, as the lines that ``check`` prints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay_trio.ledger.prices import has_price, price_lists
from relay_trio.vendors.registry import provider_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.config import Settings
    from relay_trio.settings import AccountSettings, TimeoutSettings, UpstreamSettings


_WILD = frozenset("*?[")
"""What makes a name a pattern."""


def effective(settings: Settings, ledger: str, keys: str) -> Iterator[tuple[str, ...]]:
    """One row for each part of ``settings``: its name and its values. ``ledger`` and ``keys`` describe their state."""
    server, queue, retry, breaker = settings.server, settings.queue, settings.retry, settings.breaker
    listeners = " ".join(map(str, server.listeners))
    encryption = "tls" if server.tls_cert else "plain http"
    yield "server", listeners, encryption, f"admin {settings.admin.listener}", f"ledger {ledger}"
    yield "timeouts", *_upstream_timeouts(settings.timeouts), f"drain {server.drain_seconds:g} s"
    yield "clients", *_client_timeouts(settings.timeouts), f"body at most {server.max_body_bytes} bytes"
    yield "upstream", *_egress(settings.upstream)
    yield "queue", f"at most {queue.max_waiting} waiting", f"at most {queue.queue_timeout_seconds:g} s"
    if retry.enabled:
        budget = f"budget {retry.budget_ratio:g} of active, at least {retry.budget_min_concurrent}"
        yield "retry", f"{retry.max_attempts} attempts", budget
    else:
        yield "retry", "off"
    if breaker.enabled:
        ejection = f"out for {breaker.eject_seconds:g} to {breaker.eject_max_seconds:g} s"
        yield "breaker", f"{breaker.strikes} strikes", ejection, _retry_after(settings)
    else:
        yield "breaker", "off: no account is ejected", _retry_after(settings)
    yield "keys", keys
    yield "prices", str(price_lists())


def account_row(account: AccountSettings) -> tuple[str, ...]:
    """The row of one account, but for the last column, which is what its upstream answered."""
    return (
        account.name,
        account.provider,
        f"{account.max_concurrency} slots",
        f"models {' '.join(account.models)}",
        provider_named(account.provider).describe_credential(account),
    )


def unpriced_models(account: AccountSettings) -> list[str]:
    """The models without a price that ``account`` names, each in full; patterns may match anything."""
    provider, now = provider_named(account.provider), time.time()
    named = [*account.models, *(name for call in provider.calls.values() for name in call.models(account))]
    models = sorted({name for name in named if not _WILD.intersection(name)})
    return [model for model in models if not has_price(provider.price_of(account, model), at=now)]


def short_path(path: Path) -> str:
    """``path`` relative to the current directory if it is inside it, absolute otherwise."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def _egress(upstream: UpstreamSettings) -> tuple[str, str]:
    trusted = "the system's store" if upstream.ca_file is None else short_path(upstream.ca_file)
    proxy = "no proxy"
    if upstream.proxy is not None:
        proxy = f"proxy {urlsplit(upstream.proxy.get_secret_value()).netloc.rpartition('@')[2]}"
    return f"trusts {trusted}", proxy


def _upstream_timeouts(timeouts: TimeoutSettings) -> tuple[str, ...]:
    return (
        f"connect {timeouts.connect_timeout_seconds:g} s",
        f"first byte {timeouts.first_byte_timeout_seconds:g} s",
        f"whole answer {timeouts.whole_answer_timeout_seconds:g} s",
        f"idle {timeouts.idle_timeout_seconds:g} s",
        f"total {timeouts.total_timeout_seconds:g} s",
    )


def _client_timeouts(timeouts: TimeoutSettings) -> tuple[str, ...]:
    return (
        f"head {timeouts.head_timeout_seconds:g} s",
        f"body idle {timeouts.body_idle_timeout_seconds:g} s",
        f"body total {timeouts.body_total_timeout_seconds:g} s",
        f"write {timeouts.write_timeout_seconds:g} s",
    )


def _retry_after(settings: Settings) -> str:
    return f"obeys retry-after up to {settings.breaker.retry_after_max_seconds:g} s"
