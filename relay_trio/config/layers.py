"""The two layers of a configuration before it is checked: relay.toml below, ``RELAY_SECTION__KEY`` variables above.

pydantic-settings reads an environment too, but takes ``RELAY_KEY`` (a likely name for a client's key) for the whole
``key`` list, needs JSON for a list, and does not say which variable was wrong. This file reads one form, and keeps the
name of the variable.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay_trio.config.problems import ConfigError, Problem, Where
from relay_trio.config.root import Settings
from relay_trio.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVIRONMENT_PREFIX = "RELAY_"
ENVIRONMENT_DELIMITER = "__"

_DEEPEST = 20
"""Tables and lists in each other: settings need 4, and what walks them recursively must never meet a dotted key of
thousands of parts, which tomllib reads without recursion."""

LISTS = ("account", "key")
"""Tables that may be repeated; they stand in the file only, which is the one truth for them."""
SECTIONS = tuple(name for name in Settings.model_fields if name not in LISTS)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the environment sets: values by place, and the variable that each came from."""

    values: dict[Where, str]
    variables: dict[Where, str]
    problems: tuple[Problem, ...]


def _missing(path: Path) -> str:
    """What helps where there is no such file: most often the command was run in another directory."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"does not exist, and neither does {folder}"
    others = sorted(file.name for file in folder.glob("*.toml"))
    fix = "name another file with --config, or relay-trio init writes one"
    return f"does not exist in {folder}: {fix}{did_you_mean(path.name, others)}"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of ``path``.

    Raises:
        ConfigError: with one problem; there is no such file, or it is not TOML.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), _missing(path))]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError([Problem(str(path), message)]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), f"is not UTF-8 text (byte {error.start})")]) from None
    except (ValueError, RecursionError) as error:
        # ValueError: TOMLDecodeError, and the number of too many digits that tomllib leaves to int().
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigError([Problem(str(path), f"is not valid TOML: {reason}")]) from None
    if _is_deeper_than(_DEEPEST, tables):
        raise ConfigError([Problem(str(path), f"is nested more than {_DEEPEST} deep, and no setting is")])
    return tables


def read_environment(environ: Mapping[str, str]) -> Overrides:
    """The overrides in ``environ``. A variable without ``__`` is not ours, whatever its prefix."""
    values: dict[Where, str] = {}
    variables: dict[Where, str] = {}
    problems = []
    for variable, value in environ.items():
        section, delimiter, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition(ENVIRONMENT_DELIMITER)
        if not variable.startswith(ENVIRONMENT_PREFIX) or not delimiter:
            continue
        if section in LISTS:
            problems.append(Problem(variable, f"cannot override [[{section}]]: it stands in the file only"))
        elif section not in SECTIONS:
            problems.append(Problem(variable, f"names no section, got {section}{did_you_mean(section, SECTIONS)}"))
        else:
            values[section, key] = value
            variables[section, key] = variable
    return Overrides(values, variables, tuple(problems))


def merge(tables: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    """``tables`` with ``overrides`` above them. A section that is not a table is left for its own problem."""
    merged = {name: dict(table) if isinstance(table, dict) else table for name, table in tables.items()}
    for (section, key), value in overrides.values.items():
        table = merged.setdefault(str(section), {})
        if isinstance(table, dict):
            table[key] = value
    return merged


def _is_deeper_than(levels: int, value: object) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for outer in layer
            if isinstance(outer, (dict, list))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(item, (dict, list)) for item in layer)
