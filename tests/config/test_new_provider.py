"""A provider's settings class is all that configuration, its messages, ``init`` and ``check`` need to know of it."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from relay_trio.cli.effective import account_row
from relay_trio.cli.init import template
from relay_trio.config import Settings
from relay_trio.config.root import secret_keys
from tests.support.relay_toml import ACCOUNT
from tests.support.toy_provider import ToySettings, registered_toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.relay_toml import Load, Problems


@pytest.fixture(autouse=True)
def _toy() -> Iterator[None]:
    with registered_toy():
        yield


TOY = '[[account]]\nname = "t"\nprovider = "toy"\nmax_concurrency = 1\nwinding_key = "env:TOY_KEY"\n'
RED = TOY + 'colour = "red"\n'


def test_its_accounts_are_read_beside_others(load_text: Load, tmp_path: Path) -> None:
    """References are resolved, and paths start at the file."""
    _, toy = load_text(account=ACCOUNT + RED + 'manual = "m.txt"\n', environ={"TOY_KEY": "k"}).account
    assert isinstance(toy, ToySettings)
    assert (toy.colour, toy.manual) == ("red", tmp_path / "m.txt")
    assert toy.winding_key.get_secret_value() == "k"


def test_its_problems_are_reported_as_any(problems_of: Problems) -> None:
    found = problems_of(account=ACCOUNT + 'colour = "red"\n' + TOY.replace('"t"', '"red"') + 'colour = "red"\n' + TOY)
    assert found["account[0].colour"] == 'is only for provider = "toy"'
    assert "TOY_KEY" in found["account[1].winding_key"]
    assert found["account[2].colour"] == "is required"
    found = problems_of(environ={"TOY_KEY": "k"}, account=RED.replace('"t"', '"red"'))
    assert found == {"account[0].colour": "must not be the name"}
    assert problems_of(account=ACCOUNT.replace("anthropic", "toi"))["account[0].provider"].endswith("did you mean toy?")


def test_its_secrets_are_secrets(problems_of: Problems) -> None:
    assert "winding_key" in secret_keys()
    assert "canary" not in str(problems_of(account=RED.replace("env:TOY_KEY", "canary key")))


def test_it_is_documented_and_described(load_text: Load) -> None:
    text = template()
    assert "#colour = " in text
    section = text[text.index("# An account of a toy") :].partition("\n\n")[0].replace("\n#", "\n")
    assert tomllib.loads(section)["account"][0]["colour"] == "red"
    assert '"toy"' in json.dumps(Settings.model_json_schema())
    [toy] = load_text(account=RED, environ={"TOY_KEY": "k"}).account
    assert account_row(toy) == ("t", "toy", "1 slots", "models *", "a red key")
