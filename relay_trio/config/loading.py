"""From a file and an environment to ``Settings``, or to everything that is wrong with them at one time.

Each table is checked by itself, so that a typo in one does not hide the problems of the others; what concerns several
tables is checked over those that are sound.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from relay_trio.config.consistency import inconsistencies
from relay_trio.config.layers import LISTS, SECTIONS, merge, read_environment, read_toml
from relay_trio.config.problems import (
    NOWHERE,
    ConfigError,
    Problem,
    Where,
    not_a_choice,
    problems_of,
    written,
)
from relay_trio.config.references import ReferenceResolver, shared_mode
from relay_trio.config.root import Settings, secret_keys
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.sections import KeySettings, ServerSettings
from relay_trio.suggestion import did_you_mean
from relay_trio.vendors.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SOME_SECRET = "-"
_Table = TypeVar("_Table", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """What a command needs that works on the database beside a relay, and needs no secret of an account.

    ``accounts`` are for what clients know of them (models, regions): those that are sound when every secret is taken
    for set. Their secrets are not the real ones.
    """

    server: ServerSettings
    key_names: tuple[str, ...]
    accounts: tuple[AccountSettings, ...]


def load(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in ``path`` with the overrides in ``environ`` (default: the process's own).

    Raises:
        ConfigError: with every problem.
    """
    reading = _Reading(path, os.environ if environ is None else environ)
    sections = {name: reading.section(name, type(Settings.model_fields[name].default)) for name in SECTIONS}
    accounts = reading.tables("account", reading.account).values()
    keys = reading.tables("key", reading.key)
    reading.check_names_of_sections()
    reading.check_literal_secrets()
    if "account" not in reading.raw or reading.raw["account"] == []:
        reading.note(("account",), "is missing: the relay needs at least one [[account]] to send requests to")
    for where, message in inconsistencies(reading.raw, sections, keys):
        reading.note(where, message)
    reading.raise_problems()
    return Settings.model_validate({**sections, "account": tuple(accounts), "key": tuple(keys.values())})


def load_for_database(
    path: Path, environ: Mapping[str, str] | None = None, *, with_sigv4_secret: bool = False
) -> DatabaseSettings:
    """The part of ``path`` that concerns the database. An account that is not sound is left out without a word, and
    secrets are neither resolved nor checked, except, ``with_sigv4_secret``, the one from which pairs are derived.

    Raises:
        ConfigError: with the problems of that part.
    """
    reading = _Reading(path, os.environ if environ is None else environ, only=("server",))
    if not with_sigv4_secret:
        reading.forget(("server", "sigv4_secret"))
    server = reading.section("server", ServerSettings)
    reading.raise_problems()
    assert server is not None, "a section that is not sound has a problem"
    keys = reading.raw.get("key")
    names = [key.get("name") for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    accounts = reading.accounts_without_secrets()
    return DatabaseSettings(server, tuple(name for name in names if isinstance(name, str)), accounts)


class _Reading:
    """One configuration while it is read: the merged tables and the problems so far, at most one for each place."""

    def __init__(self, path: Path, environ: Mapping[str, str], only: tuple[str, ...] | None = None) -> None:
        self._path = path
        overrides = read_environment(environ)
        tables = read_toml(path)
        self.raw = merge(tables, overrides)
        self._variables = overrides.variables
        self._other_problems = overrides.problems
        self._problems: dict[Where, str] = {}
        self._literals = _secrets(tables)
        self._resolver = ReferenceResolver(path.parent, environ)
        self.raw = {
            name: self._resolver.resolve(table, (name,)) if only is None or name in only else table
            for name, table in self.raw.items()
        }
        for where, message in self._resolver.failures.items():
            self.note(where, message)

    def note(self, where: Where, message: str) -> None:
        """Report ``message`` for ``where``, unless it or a table around it has a problem already."""
        if not any(where[:length] in self._problems for length in range(1, len(where) + 1)):
            self._problems[where] = message

    def forget(self, where: Where) -> None:
        """Check the rest as if the setting ``where`` (section and name) were not there."""
        table = self.raw.get(str(where[0]))
        if isinstance(table, dict):
            table.pop(str(where[1]), None)
        self._problems.pop(where, None)

    def raise_problems(self) -> None:
        """Raise ConfigError if anything was reported."""
        problems = [
            Problem(self._written(where), self._problems[where]) for where in sorted(self._problems, key=_order)
        ]
        if problems or self._other_problems:
            raise ConfigError([*problems, *self._other_problems])

    def section(self, name: str, model: type[_Table]) -> _Table | None:
        """The section ``name``, or None with its problems reported."""
        table = self.raw.get(name, {})
        if not isinstance(table, dict):
            self.note((name,), f"must be a section: [{name}]")
            return None
        return self._table(table, model, (name,))

    def tables(self, name: str, read: Callable[[dict[str, Any], Where], _Table | None]) -> dict[int, _Table]:
        """The sound ones of the repeated tables ``name``, by position; the problems of the others reported."""
        tables = self.raw.get(name, [])
        if not isinstance(tables, list):
            self.note((name,), f"must be written [[{name}]], with two brackets")
            return {}
        sound = {}
        for index, table in enumerate(tables):
            if not isinstance(table, dict):
                self.note((name, index), f"must be a table: [[{name}]]")
            elif (settings := read(table, (name, index))) is not None:
                sound[index] = settings
        return sound

    def account(self, table: dict[str, Any], where: Where) -> AccountSettings | None:
        """One account, checked by its provider's class. Without a provider that exists, it is checked only for what all
        accounts have."""
        name, elsewhere = table.get("provider"), _own_settings()
        if isinstance(name, str) and name in PROVIDERS:
            return self._table(table, PROVIDERS[name].settings_class, where, elsewhere)
        if "provider" in table:
            place = (*where, "provider")
            self.note(place, not_a_choice(name, list(PROVIDERS), self._resolver.resolved.get(place)))
        self._table({key: value for key, value in table.items() if key not in elsewhere}, AccountSettings, where)
        return None

    def accounts_without_secrets(self) -> tuple[AccountSettings, ...]:
        """The accounts that are sound when every secret is taken for set. The problems of the others are not kept."""
        tables = self.raw.get("account")
        kept, self._problems = self._problems, {}
        found = [
            self._account_without_secrets(table, ("account", index))
            for index, table in enumerate(tables if isinstance(tables, list) else ())
            if isinstance(table, dict)
        ]
        self._problems = kept
        return tuple(account for account in found if account is not None)

    def _account_without_secrets(self, table: dict[str, Any], where: Where) -> AccountSettings | None:
        """With any text for each secret; without them, where that is not a form that a secret has (Google's JSON)."""
        hidden = secret_keys()
        shown = {name: self._resolver.resolve(value, where) for name, value in table.items() if name not in hidden}
        for secrets in (dict.fromkeys(hidden.intersection(table), _SOME_SECRET), {}):
            self._problems.clear()
            if (account := self.account({**shown, **secrets}, where)) is not None:
                return account
        return None

    def key(self, table: dict[str, Any], where: Where) -> KeySettings | None:
        """One client key."""
        return self._table(table, KeySettings, where)

    def check_names_of_sections(self) -> None:
        """A section of another name is a typo."""
        known = (*SECTIONS, *LISTS)
        for name in self.raw:
            if name not in known:
                self.note((name,), f"is not a section{did_you_mean(name, known)}")

    def check_literal_secrets(self) -> None:
        """A secret may stand in relay.toml itself only where no one else can read that."""
        if (mode := shared_mode(self._path.stat())) is not None:
            for where in self._literals:
                if where not in self._variables:
                    self.note(
                        where,
                        f"is a secret in a file that group or others may use (mode {mode:04o}): "
                        f"chmod 600 {self._path}, or write env:NAME or file:/path in its place",
                    )

    def _table(
        self,
        table: dict[str, Any],
        model: type[_Table],
        where: Where,
        elsewhere: Mapping[str, str] = NOWHERE,
    ) -> _Table | None:
        try:
            sound = model.model_validate(table, context={"directory": self._path.parent})
        except ValidationError as error:
            for place, message in problems_of(error, model, where, self._resolver.resolved, elsewhere):
                self.note(place, message)
            return None
        return None if any(place[: len(where)] == where for place in self._problems) else sound

    def _written(self, where: Where) -> str:
        variable = self._variables.get(where[:2])
        return f"{variable}{written(where[2:])}" if variable else written(where)


def _own_settings() -> dict[str, str]:
    """For a setting that only some providers have, the provider it belongs to: for ``region``, ``provider =
    "bedrock"``."""
    owners: dict[str, list[str]] = {}
    for name, provider in PROVIDERS.items():
        for key in provider.settings_class.model_fields.keys() - AccountSettings.model_fields.keys():
            owners.setdefault(key, []).append(f'"{name}"')
    return {key: f"provider = {' or '.join(names)}" for key, names in owners.items()}


def _order(where: Where) -> tuple[int, list[tuple[bool, int, str]]]:
    """Sections as ``Settings`` lists them, unknown ones first; within one by position, then by name."""
    names = list(Settings.model_fields)
    section = names.index(str(where[0])) if where[0] in names else -1
    return section, [(isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in where]


def _secrets(value: object, where: Where = ()) -> list[Where]:
    """The places of secrets that are written out, not referred to."""
    if isinstance(value, dict):
        return [place for key, item in value.items() for place in _secrets(item, (*where, key))]
    if isinstance(value, list):
        return [place for index, item in enumerate(value) for place in _secrets(item, (*where, index))]
    is_literal = isinstance(value, str) and value != "" and not value.startswith(("env:", "file:"))
    return [where] if is_literal and where[-1] in secret_keys() else []
