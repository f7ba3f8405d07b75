"""``relay-trio init``: the file it writes is the settings, and is nobody else's to read."""

from __future__ import annotations

import re
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest
import trustme
from pydantic import BaseModel, ValidationError

from relay_trio.cli.init import init, template, toml
from relay_trio.config import Settings, load
from relay_trio.settings import AccountSettings, KeySettings
from relay_trio.vendors.registry import PROVIDERS
from tests.support.relay_toml import ACCOUNT, write_certificate

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {
    "ANTHROPIC_API_KEY": "sk-ant-1",
    "RELAY_ADMIN_TOKEN": "token",
    "RELAY_KEY_TEAM_X": "rt_1",
    "RELAY_UPSTREAM_PROXY": "http://user:word@proxy:3128",
    "RELAY_SIGV4_SECRET": "s" * 32,
    "GEMINI_API_KEY": "AIza",
    "GOOGLE_API_KEY": "AQ.x",
    "AWS_BEARER_TOKEN_BEDROCK": "ABSK",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "session",
}


def uncommented() -> str:
    """The template with every setting active: ``#name`` is a setting, ``# text`` a comment."""
    return re.sub(r"^#(?=\S)", "", template(), flags=re.MULTILINE)


def test_the_written_file_is_sound_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its owner need only set the variables that are named."""
    assert init(out=tmp_path) == 0
    names = re.findall(r"export (\w+)=", capsys.readouterr().out)
    settings = load(tmp_path / "relay.toml", {name: ENVIRON[name] for name in names})
    assert [account.provider for account in settings.account] == [next(iter(PROVIDERS))]
    assert settings.model_copy(update={"account": (), "server": Settings().server}) == Settings()


def test_every_setting_is_in_the_file_with_its_default() -> None:
    """The file cannot drift from the models: all names are there, and no value but a default."""
    written = tomllib.loads(uncommented())
    assert written.keys() == Settings.model_fields.keys()
    for section, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            model = type(field.default)
            assert written[section].keys() == model.model_fields.keys()
            with_default = {name for name in model.model_fields if getattr(field.default, name) is not None}
            assert model.model_validate({name: written[section][name] for name in with_default}) == field.default
    [key] = written["key"]
    assert key.keys() == KeySettings.model_fields.keys()


def test_every_provider_has_an_account_in_the_file() -> None:
    """The first one is whole; the others need not repeat what all have."""
    accounts = {table["provider"]: table for table in tomllib.loads(uncommented())["account"]}
    assert list(accounts) == list(PROVIDERS)
    whole, *_ = accounts.values()
    for name, table in accounts.items():
        fields = PROVIDERS[name].settings_class.model_fields
        assert fields.keys() - table.keys() <= (set() if table is whole else AccountSettings.model_fields.keys())
        assert table.keys() <= fields.keys()


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_example_is_a_value_that_is_accepted(name: str) -> None:
    """Each by itself: an account authenticates in one way, so not all of them together."""
    [table] = [table for table in tomllib.loads(uncommented())["account"] if table["provider"] == name]
    table = {key: resolved(value) for key, value in table.items()}
    schema = PROVIDERS[name].settings_class
    with pytest.raises(ValidationError) as caught:
        schema.model_validate({**table, "name": "not a name"})
    assert [error["loc"] for error in caught.value.errors()] == [("name",)]


def resolved(value: object) -> object:
    """What a reference in an example may stand for."""
    if value == "file:service-account.json":
        return '{"type": "service_account"}'
    return ENVIRON[value.removeprefix("env:")] if isinstance(value, str) and value.startswith("env:") else value


def test_every_example_of_a_section_is_a_value_that_is_accepted(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    path = tmp_path / "relay.toml"
    sections = re.sub(r"(?ms)^\[\[account\]\].*?(?=^\[\[key)", "", uncommented())
    path.write_text(sections + ACCOUNT)
    assert load(path, ENVIRON).key[0].name == "team-x"


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("bedrock", "api_key|profile"),
        ("bedrock", "api_key|access_key_id|secret_access_key|session_token"),
        ("vertex", "api_key|credentials|token_command"),
        ("vertex", "api_key|credentials|token_file"),
        ("vertex", "api_key|token_.*"),
        ("gemini", "nothing"),
        ("anthropic", "nothing"),
    ],
)
def test_the_examples_of_one_way_to_authenticate_make_an_account(name: str, others: str) -> None:
    [table] = [table for table in tomllib.loads(uncommented())["account"] if table["provider"] == name]
    table = {key: resolved(value) for key, value in table.items() if not re.fullmatch(others, key)}
    assert PROVIDERS[name].settings_class.model_validate(table).name == f"{name}-a"


def test_the_file_is_its_owners_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(out=tmp_path) == 0
    assert stat.S_IMODE((tmp_path / "relay.toml").stat().st_mode) == 0o600
    out = capsys.readouterr().out
    assert str(tmp_path / "relay.toml") in out
    assert f"relay-trio check --config {tmp_path / 'relay.toml'}" in out


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_nothing_is_ever_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path / "relay.toml"
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert init(out=tmp_path) == 1
    assert f"{path} is in the way" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or path.read_text() == "mine"


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(out=tmp_path / "absent") == 1
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("value", [True, 3, 0.2, 1e9, 'a\n"b"\\ä', ["a", "b"], []])
def test_a_value_is_read_back_from_toml_as_it_was(value: object) -> None:
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value


def test_a_directory_that_does_not_exist_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(out=tmp_path / "nowhere") == 1
    assert f"the directory {tmp_path / 'nowhere'} must exist: mkdir -p" in capsys.readouterr().err
