"""``relay-trio keys create | list | revoke``: client keys in the database, which a running relay follows in seconds."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from pydantic import ValidationError

from relay_trio.aligned import aligned
from relay_trio.cli.client_lines import client_lines
from relay_trio.cli.print_problems import print_problems
from relay_trio.config import ConfigError, load_for_database
from relay_trio.config.problems import problems_of
from relay_trio.keys.client_key import ClientKey, id_in_file
from relay_trio.keys.key_store import NameTaken, NoSuchKey, open_key_store, read_key_store
from relay_trio.ledger.sqlite_store import open_report
from relay_trio.settings import KeySettings, ServerSettings
from relay_trio.storage.storage_error import StorageError
from relay_trio.vendors.registry import VENDORS

keys = App(name="keys", help="Create, list and revoke client keys.")

Config = Annotated[Path, Parameter(help="The relay.toml that names the database.")]
_DEFAULT_CONFIG = Path("relay.toml")
_AUTHENTICATORS = tuple(
    vendor.dialect.authenticator for vendor in VENDORS if vendor.dialect and vendor.dialect.authenticator
)
_PAIR_OPTIONS = tuple(f"--{authenticator.option}" for authenticator in _AUTHENTICATORS)
_PAIR_HELP = " ".join(authenticator.option_help for authenticator in _AUTHENTICATORS)
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class ListedKey:
    """What ``keys list --json`` prints of a key; scripts rely on these names. Times are epoch seconds.

    ``is_in_file``: a [[key]] of the configuration, of which the file is the one to ask for the rest.
    """

    id: str
    name: str
    last4: str | None = None
    models: tuple[str, ...] | None = None
    created_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    is_in_file: bool = False


@keys.command
def create(
    name: Annotated[str, Parameter(help="Whose key it is; shown in logs and usage.")],
    /,
    *,
    models: Annotated[
        tuple[str, ...], Parameter(help="Glob patterns of the models it may use.", consume_multiple=True, negative=())
    ] = ("*",),
    pair: Annotated[bool, Parameter(name=_PAIR_OPTIONS, negative=(), help=_PAIR_HELP)] = False,
    config: Config = _DEFAULT_CONFIG,
) -> int:
    """Create a key and print it once; only a digest of it is stored."""
    try:
        checked = KeySettings.model_validate({"name": name, "models": models, "secret": "-"})
    except ValidationError as error:
        for where, message in problems_of(error, KeySettings, (), {}):
            print(f"{where[0]} {message}", file=sys.stderr)
        return 2
    try:
        found = load_for_database(config, with_sigv4_secret=pair)
        master = found.server.sigv4_secret
        if pair and master is None:
            needed = "[server] sigv4_secret, from which the pair is derived; the relay needs it too"
            print(f"{_PAIR_OPTIONS[0]} needs {needed}", file=sys.stderr)
            return 1
        if checked.name in found.key_names:
            print(f"a [[key]] in {config} is named {checked.name}; choose another name", file=sys.stderr)
            return 1
        with open_key_store(found.server.ledger) as store:
            key, secret = store.create(checked.name, checked.models)
    except ConfigError as error:
        print_problems(config, error.problems, end="Nothing was done.")
        return 1
    except (StorageError, NameTaken) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"key {secret}   shown once; only a digest is stored")
    print(f"id {key.id}   name {key.name}   models {' '.join(key.models)}")
    master_secret = None if master is None else master.get_secret_value()
    lines = list(client_lines(client_url(found.server), key, secret, master_secret, found.accounts))
    if lines:
        print("\n".join(lines))
    else:
        print(f"no account in {config} serves a model that this key may use", file=sys.stderr)
    return 0


@keys.command(name="list")
def list_keys(
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print JSON; times are epoch seconds.")
    ] = False,
    config: Config = _DEFAULT_CONFIG,
) -> int:
    """List every key there ever was, and those of the configuration."""
    try:
        found = load_for_database(config)
        listed = _listed(found.server.ledger, found.key_names)
    except ConfigError as error:
        print_problems(config, error.problems, end="Nothing was done.")
        return 1
    except StorageError as error:
        print(error, file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps({"keys": [dataclasses.asdict(key) for key in listed]}))
    elif not listed:
        print("No keys yet: relay-trio keys create NAME")
    else:
        header = ("id", "name", "last 4", "models", "created", "last used", "state")
        print("\n".join(aligned([header, *(_row(key, config) for key in listed)])))
    return 0


@keys.command
def revoke(
    key_id: Annotated[str, Parameter(name="ID", help="The id that create and list show.")],
    /,
    *,
    config: Config = _DEFAULT_CONFIG,
) -> int:
    """Revoke a key. A running relay refuses it within seconds; what it has begun goes on."""
    try:
        found = load_for_database(config)
        with open_key_store(found.server.ledger) as store:
            key = store.revoke(key_id)
    except ConfigError as error:
        print_problems(config, error.problems, end="Nothing was done.")
        return 1
    except (StorageError, NoSuchKey) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"revoked {key.id}   name {key.name}   a running relay refuses it within 5 s")
    return 0


def client_url(server: ServerSettings) -> str:
    """What a client on this machine sets as its base URL."""
    listener = next((listener for listener in server.listeners if not listener.is_unix), None)
    if listener is None:
        return str(server.listeners[0])
    listener = dataclasses.replace(listener, host=_REACHED_AT.get(listener.host, listener.host))
    return f"{'https' if server.tls_cert else 'http'}://{listener}"


def _listed(ledger: Path, names: Sequence[str]) -> list[ListedKey]:
    """The keys of the file ``ledger``, and those of the configuration by their ``names``. Raises StorageError."""
    stored: list[ClientKey] = []
    last_used: dict[str, float] = {}
    if ledger.exists():
        with read_key_store(ledger) as store, open_report(ledger) as report:
            stored = store.all_keys()
            last_used = report.last_used([*(key.id for key in stored), *map(id_in_file, names)])
    listed = [
        ListedKey(key.id, key.name, key.last4, key.models, key.created_at, last_used.get(key.id), key.revoked_at)
        for key in stored
    ]
    return listed + [
        ListedKey(id_in_file(name), name, last_used_at=last_used.get(id_in_file(name)), is_in_file=True)
        for name in names
    ]


def _row(key: ListedKey, config: Path) -> tuple[str, ...]:
    state = "works" if key.revoked_at is None else f"revoked {_day(key.revoked_at)}"
    return (
        key.id,
        key.name,
        key.last4 or "",
        " ".join(key.models or ()),
        "" if key.created_at is None else _day(key.created_at),
        "never" if key.last_used_at is None else _minute(key.last_used_at),
        f"in {config}" if key.is_in_file else state,
    )


def _day(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d")


def _minute(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
