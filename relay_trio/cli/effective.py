"""What a configuration amounts to, in the lines that ``check`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.config import Settings
    from relay_trio.settings import AccountSettings, TimeoutSettings, UpstreamSettings

_SHORTEST_MASKED_SECRET = 20
"""Of a shorter secret even ten characters would give too much away."""


def masked(secret: str) -> str:
    """Enough of ``secret`` to tell it from another one, and no more."""
    return f"{secret[:7]}…{secret[-3:]}" if len(secret) >= _SHORTEST_MASKED_SECRET else "…"


def effective(settings: Settings, ledger: str, keys: str) -> Iterator[tuple[str, ...]]:
    """One row for each part of ``settings``: its name and its values. ``ledger`` and ``keys`` tell their state."""
    server, queue, retry, breaker = settings.server, settings.queue, settings.retry, settings.breaker
    listeners = " ".join(map(str, server.listeners))
    encryption = "tls" if server.tls_cert else "plain http"
    yield "server", listeners, encryption, f"admin {settings.admin.listener}", f"ledger {ledger}"
    yield "timeouts", *_upstream_timeouts(settings.timeouts), f"drain {server.drain_seconds:g} s"
    yield "clients", *_client_timeouts(settings.timeouts), f"body at most {server.max_body_bytes} bytes"
    yield "upstream", *_way(settings.upstream)
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
        yield "breaker", "off", _retry_after(settings)
    yield "keys", keys


def account_row(account: AccountSettings) -> tuple[str, ...]:
    """The row of one account, up to where the answer of its upstream goes."""
    return (
        account.name,
        account.provider,
        f"{account.max_concurrency} slots",
        f"models {' '.join(account.models)}",
        proof(account),
    )


def proof(account: AccountSettings) -> str:
    """What an account proves itself with, in words that hold no secret."""
    if account.api_key is not None:
        return f"key {masked(account.api_key.get_secret_value())}"
    if account.provider == "vertex":
        return f"{_token_source(account)}, project {account.project} in {account.location}"
    if account.access_key_id is not None:
        found = f"access key {masked(account.access_key_id.get_secret_value())}"
    else:
        found = f"profile {account.profile}" if account.profile is not None else "AWS default chain"
    return found if account.assume_role_arn is None else f"{found}, role {account.assume_role_arn.rpartition('/')[2]}"


def _token_source(account: AccountSettings) -> str:
    if account.token_command is not None:
        return f"token of {account.token_command[0]}"
    if account.token_file is not None:
        return f"token in {short_path(account.token_file)}"
    return "Google's default credentials" if account.credentials is None else "Google credentials"


def short_path(path: Path) -> str:
    """``path`` from the current directory where it is inside, else whole."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def _way(upstream: UpstreamSettings) -> tuple[str, str]:
    trusted = "the system's store" if upstream.ca_file is None else short_path(upstream.ca_file)
    proxy = "no proxy"
    if upstream.proxy is not None:
        proxy = f"proxy {urlsplit(upstream.proxy.get_secret_value()).netloc.rpartition('@')[2]}"
    return f"trusts {trusted}", proxy


def _upstream_timeouts(timeouts: TimeoutSettings) -> tuple[str, ...]:
    return (
        f"connect {timeouts.connect_timeout_seconds:g} s",
        f"first byte {timeouts.first_byte_timeout_seconds:g} s",
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
    return f"retry-after up to {settings.breaker.retry_after_max_seconds:g} s"
