"""``relay-trio init``: the file it writes is the settings, and is nobody else's to read."""

from __future__ import annotations

import re
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest
import trustme
from pydantic import BaseModel

from relay_trio.cli.init import init, template, toml
from relay_trio.config import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {
    "ANTHROPIC_API_KEY": "sk-ant-1",
    "RELAY_ADMIN_TOKEN": "token",
    "RELAY_KEY_TEAM_X": "rt_1",
    "RELAY_UPSTREAM_PROXY": "http://user:word@proxy:3128",
    "RELAY_SIGV4_SECRET": "s" * 32,
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "session",
}


def uncommented() -> str:
    """The template with every setting active: ``#name`` is a setting, ``# text`` a comment."""
    return re.sub(r"^#(?=\S)", "", template(), flags=re.MULTILINE)


def test_the_written_file_is_sound_as_it_is(tmp_path: Path) -> None:
    """Its owner need only set the one variable it names."""
    assert init(out=tmp_path) == 0
    settings = load(tmp_path / "relay.toml", ENVIRON)
    assert [account.name for account in settings.account] == ["claude-a"]
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
        else:
            [table] = written[section]
            model = Settings.model_json_schema()["$defs"][f"{section.title()}Settings"]
            assert table.keys() == model["properties"].keys()


def test_every_example_in_the_file_is_a_value_that_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    (tmp_path / "key.pem").touch()
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    path = tmp_path / "relay.toml"
    written = uncommented()
    path.write_text(re.sub(r"^.*# (bedrock|vertex): .*\n", "", written, flags=re.MULTILINE))
    settings = load(path, ENVIRON)
    assert settings.account[0].base_url == "https://api.anthropic.com"
    assert settings.key[0].name == "team-x"


@pytest.mark.parametrize("other_proof", ["api_key|profile", "api_key|access_key_id|secret_access_key|session_token"])
def test_every_example_for_bedrock_is_a_value_that_is_accepted(tmp_path: Path, other_proof: str) -> None:
    """An account proves itself in one way, so not all of them together."""
    path = tmp_path / "relay.toml"
    written = re.sub(
        rf"^(({other_proof}|base_url|tls_\w+|ca_file) = .*|.*# vertex: .*)\n", "", uncommented(), flags=re.MULTILINE
    )
    path.write_text(written.replace('provider = "anthropic"', 'provider = "bedrock"'))
    [account] = load(path, ENVIRON).account
    assert account.region == "eu-central-1"
    assert account.model_ids


@pytest.mark.parametrize("other_proof", ["credentials|token_command", "credentials|token_file", "token_\\w+"])
def test_every_example_for_vertex_is_a_value_that_is_accepted(tmp_path: Path, other_proof: str) -> None:
    key = tmp_path / "service-account.json"
    key.touch(0o600)
    key.write_text('{"type": "service_account"}')
    path = tmp_path / "relay.toml"
    written = re.sub(
        rf"^((api_key|{other_proof}|base_url|tls_\w+|ca_file) = .*|.*# bedrock: .*)\n",
        "",
        uncommented(),
        flags=re.MULTILINE,
    )
    path.write_text(written.replace('provider = "anthropic"', 'provider = "vertex"'))
    [account] = load(path, ENVIRON).account
    assert (account.project, account.location) == ("my-ai", "europe-west4")
    assert (account.credentials, account.token_command, account.token_file) != (None, None, None)


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
