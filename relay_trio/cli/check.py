"""``relay-trio check``: whether a configuration is sound, its effective values, and whether its accounts answer."""

import http.client
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from relay_trio.cli.effective import account_row, effective, short_path, unpriced_models
from relay_trio.cli.listeners import unusable_listeners
from relay_trio.cli.print_problems import print_problems
from relay_trio.config import ConfigError, Problem, Settings, load, start_problems
from relay_trio.keys.key_store import working_key_names
from relay_trio.pool.probe import probe_accounts
from relay_trio.storage.sqlite import inspect, require_writable
from relay_trio.storage.storage_error import StorageError

_HEALTH_CHECK_SECONDS = 5
"""The answer takes no work: a relay that needs longer is not healthy."""


def check(
    *,
    config: Annotated[Path, Parameter(help="The file to check.")] = Path("relay.toml"),
    url: Annotated[str | None, Parameter(help="Ask the relay that runs at this URL whether it is alive.")] = None,
    schema: Annotated[bool, Parameter(negative=(), help="Print the JSON schema of the file.")] = False,
) -> int:
    """Check relay.toml, print its effective values, and probe each account's upstream without spending tokens."""
    if schema:
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return 0
    if url is not None:
        return _check_running(url)
    try:
        return _check_file(config)
    except ConfigError as error:
        print_problems(config, error.problems)
        return 1


def _check_file(config: Path) -> int:
    """As ``check``, for the file. Raises ConfigError with every problem that would keep a relay from starting."""
    settings = load(config)
    try:
        require_writable(settings.server.ledger)
        state = inspect(settings.server.ledger)
        stored = working_key_names(settings.server.ledger)
    except StorageError as error:
        raise ConfigError([Problem("server.ledger", str(error))]) from None
    unusable = list(unusable_listeners(settings))
    problems = [*start_problems(settings, stored)]
    problems += [Problem(each.setting, each.message) for each in unusable if not each.is_taken]
    if problems:
        raise ConfigError(problems)
    ledger = f"{short_path(settings.server.ledger)} ({state})"
    keys = f"{len(settings.key)} in {config.name}, {len(stored)} in the ledger"
    results = trio.run(probe_accounts, settings)
    rows = list(effective(settings, ledger, keys))
    accounts = [account_row(account) for account in settings.account]
    widths = [max(len(row[column]) for row in accounts) for column in range(len(accounts[0]))]
    widths[0] = max(widths[0], *(len(row[0]) for row in rows))
    for row in rows:
        print("  " + "   ".join((row[0].ljust(widths[0]), *row[1:])))
    for row, result in zip(accounts, results, strict=True):
        print("  " + "   ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), result.text)))
    for each in unusable:
        print(f"{each.setting} {each.message} (this is right if it is the relay of {config})", file=sys.stderr)
    for account in settings.account:
        if unpriced := unpriced_models(account):
            print(f"{account.name}: no price is known for {', '.join(unpriced)}", file=sys.stderr)
    if not settings.key and not stored:
        print(
            "No client has a key yet, so every request would be refused: relay-trio keys create NAME", file=sys.stderr
        )
    return 0 if all(result.is_ok for result in results) else 1


def _check_running(url: str) -> int:
    """The exit status for the relay at ``url``. A container's health check: it needs no configuration and no proxy."""
    if not url.startswith(("http://", "https://")):
        print(f'--url must be http://host:port or https://host:port, got "{url}"', file=sys.stderr)
        return 2
    address = url.rstrip("/") + "/healthz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=_HEALTH_CHECK_SECONDS) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        print(f"{address} does not answer: {getattr(reason, 'strerror', None) or reason}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"{address} answered {status}", file=sys.stderr)
        return 1
    print(f"{address} is alive")
    return 0
