"""``relay-trio init``: a relay.toml to start from, written out of the settings models so that it cannot drift."""

import inspect
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from relay_trio import __version__
from relay_trio.config import Settings
from relay_trio.settings import KeySettings
from relay_trio.vendors.registry import PROVIDERS

_HEADER = f"""\
# Settings of relay-trio {__version__}. "# text" is a comment; "#name = value" is a setting at its default: remove the #
# to change it. Any text may be env:NAME or file:/path (a file that only its owner can read: chmod 600).
# RELAY_SECTION__NAME in the environment overrides a setting, for example RELAY_SERVER__DRAIN_SECONDS=30
# Try it: relay-trio check
"""
_COMMENT_COLUMN = 44
_NO_EXAMPLES: Mapping[str, str] = MappingProxyType({})


def init(*, out: Annotated[Path, Parameter(help="Directory to write to; it must exist.")] = Path()) -> int:
    """Write a commented relay.toml to start from. Never overwrites a file."""
    path = out / "relay.toml"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} is in the way: it exists, and init does not overwrite it", file=sys.stderr)
        return 1
    except OSError as error:
        fix = "" if out.is_dir() else f"; the directory {out} must exist: mkdir -p {out}"
        print(f"{path} cannot be written: {error.strerror}{fix}", file=sys.stderr)
        return 1
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(template())
    option = "" if path == Path("relay.toml") else f" --config {path}"
    print(f"wrote {path} (mode 0600)")
    print("next  " + "\n      ".join(f"export {name}=..." for name in _variables()))
    print(f"      relay-trio check{option}")
    print(f"      relay-trio keys create NAME{option}")
    print(f"      relay-trio serve{option}")
    return 0


def template() -> str:
    """The text of a relay.toml with one account, and every other setting commented out.

    The first provider's account is written whole. Of the others' accounts only what is required and what is their own.
    """
    parts = [_HEADER]
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            parts.append(_section(f"[{name}]", type(field.default)))
    for index, (name, provider) in enumerate(PROVIDERS.items()):
        examples = {"name": f"{name}-a", "provider": name}
        header = "#[[account]]" if index else "[[account]]"
        parts.append(_section(header, provider.settings_class, examples, is_whole=index == 0))
    parts.append(_section("#[[key]]", KeySettings))
    return "\n".join(parts)


def _section(
    header: str, model: type[BaseModel], examples: Mapping[str, str] = _NO_EXAMPLES, *, is_whole: bool = True
) -> str:
    """``model`` as a table, what is required first. ``examples`` go before its own. Not ``is_whole``: without the
    settings that it shares with its base class and that have a default."""
    lines = [f"# {(model.__doc__ or '').strip()}", header]
    for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
        if not is_whole and not field.is_required() and name not in inspect.get_annotations(model):
            continue
        is_active = field.is_required() and not header.startswith("#")
        setting = f"{'' if is_active else '#'}{name} = {toml(examples.get(name, _example(field)))}"
        lines.append(f"{setting:<{_COMMENT_COLUMN}} # {field.description}")
    return "\n".join(lines) + "\n"


def _variables() -> list[str]:
    """Names of the environment variables that the written file refers to."""
    return re.findall(r'^\w+ = "env:(\w+)"', template(), re.MULTILINE)


def _example(field: FieldInfo) -> object:
    """The default, or where there is none the first example."""
    default = field.get_default(call_default_factory=True)
    return field.examples[0] if field.examples and (field.is_required() or default in (None, {})) else default


def toml(value: Any) -> str:
    """``value`` as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(name)} = {toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)
