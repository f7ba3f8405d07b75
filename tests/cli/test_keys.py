"""``relay-trio keys``: made once, shown once, revoked for good."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from relay_trio.cli.keys import client_url, create, keys, list_keys, revoke
from relay_trio.keys.access_pairs import AccessPairs
from relay_trio.keys.key_store import open_key_store
from relay_trio.keys.secret import digest_of, generate_secret
from relay_trio.settings import Listener, ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

FILE = '[server]\nlisteners = ["127.0.0.1:9000"]\n[[key]]\nname = "in-file"\nsecret = "env:NOT_SET"\n'


@pytest.fixture
def config(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose secrets are not set in this shell: keys must work without them."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    config_file.write_text(FILE)
    return config_file


def test_a_key_is_shown_once_and_only_its_digest_is_stored(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create("team-x", models=("claude-*",), config=config) == 0
    out = capsys.readouterr().out
    secret = re.findall(r"key (rt_\S+)", out)[0]
    assert len(secret) == len(generate_secret())
    assert "id k_01   name team-x   models claude-*\n" in out
    assert f"export ANTHROPIC_BASE_URL=http://127.0.0.1:9000 ANTHROPIC_AUTH_TOKEN={secret}\n" in out
    assert f"export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9000 GEMINI_API_KEY={secret}\n" in out
    with open_key_store(config.parent / "relay.db") as store:
        [key] = store.all_keys()
    assert (key.name, key.digest, key.models) == ("team-x", digest_of(secret), ("claude-*",))
    assert all(secret.encode() not in path.read_bytes() for path in config.parent.iterdir())

    assert list_keys(config=config) == 0
    out = capsys.readouterr().out
    assert secret not in out
    assert re.search(rf"^k_01 +team-x +{re.escape(secret[-4:])} +claude-\* +\d\S+ +never +works$", out, re.MULTILINE)
    assert re.search(rf"^cfg_in-file +in-file +never +in {re.escape(str(config))}$", out, re.MULTILINE)


MASTER = "m" * 32
SIGNING = FILE.replace("[[key]]", 'sigv4_secret = "env:RELAY_SIGV4_SECRET"\n[[key]]')


def test_a_pair_for_aws_clients_is_printed_once_and_derived_again_from_the_key(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_SIGV4_SECRET", MASTER)
    config.write_text(SIGNING)
    assert create("team-x", pair=True, config=config) == 0
    out = capsys.readouterr().out
    with open_key_store(config.parent / "relay.db") as store:
        [key] = store.all_keys()
    pair = AccessPairs(MASTER).pair_of(key)
    assert f"export AWS_ACCESS_KEY_ID={pair.access_key_id} AWS_SECRET_ACCESS_KEY={pair.secret_access_key}\n" in out
    assert " AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:9000\n" in out
    assert "AWS_BEARER_TOKEN" not in out, "it would count in the place of the pair"
    for path in config.parent.iterdir():
        assert pair.secret_access_key.encode() not in path.read_bytes()


def test_a_pair_needs_the_master_secret_and_nothing_else_does(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create("team-x", pair=True, config=config) == 1
    assert "sigv4_secret" in capsys.readouterr().err
    config.write_text(SIGNING)
    assert create("team-x", pair=True, config=config) == 1
    assert "RELAY_SIGV4_SECRET, which is not set" in capsys.readouterr().err
    assert create("team-x", config=config) == 0, "without --aws it is not asked for"
    assert "AWS_SECRET_ACCESS_KEY" not in capsys.readouterr().out
    assert list_keys(config=config) == 0


POOL = """
[[account]]
name = "claude"
provider = "anthropic"
api_key = "env:NOT_SET"
max_concurrency = 1
models = ["claude-*"]

[[account]]
name = "bedrock"
provider = "bedrock"
region = "eu-west-3"
models = ["anthropic.*", "arn:*"]
max_concurrency = 1

[[account]]
name = "gemini"
provider = "gemini"
api_key = "env:NOT_SET"
max_concurrency = 1
models = ["gemini-*"]
"""


@pytest.mark.parametrize(
    ("models", "variables"),
    [
        ("gemini*", ["GOOGLE_GEMINI_BASE_URL"]),
        ("claude-sonnet-4", ["ANTHROPIC_BASE_URL"]),
        ("arn:aws:x.*", ["ANTHROPIC_BASE_URL", "ANTHROPIC_BEDROCK_BASE_URL", "AWS_REGION"]),
        ("*", ["ANTHROPIC_BASE_URL", "ANTHROPIC_BEDROCK_BASE_URL", "AWS_REGION", "GOOGLE_GEMINI_BASE_URL"]),
        ("nobodys", []),
    ],
)
def test_the_lines_are_those_of_the_dialects_that_the_key_can_use(
    config: Path, capsys: pytest.CaptureFixture[str], models: str, variables: list[str]
) -> None:
    """Bedrock serves Claude's clients too, translated. Without an account that can serve the key, that is said."""
    config.write_text(FILE + POOL)
    assert create("team-x", models=(models,), config=config) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^export (\w+)=", out, re.MULTILINE) == variables
    assert ("serves a model that this key may use" in err) is (not variables)


def test_a_pair_is_for_the_region_of_an_account_that_serves_it(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_SIGV4_SECRET", MASTER)
    config.write_text(SIGNING + POOL + POOL.replace("eu-west-3", "eu-west-1").replace('name = "', 'name = "second-'))
    assert create("team-x", models=("anthropic.*",), pair=True, config=config) == 0
    out = capsys.readouterr().out
    assert "export AWS_REGION=eu-west-3 AWS_DEFAULT_REGION=eu-west-3\n" in out


def test_a_revoked_key_stays_in_the_list(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("team-x", config=config)
    assert revoke("k_01", config=config) == 0
    assert revoke("k_01", config=config) == 0, "revoking twice changes nothing"
    assert create("team-x", config=config) == 0, "the name is free again"
    capsys.readouterr()
    list_keys(config=config)
    out = capsys.readouterr().out
    assert re.search(r"^k_01 +team-x .* revoked \d{4}-\d\d-\d\d$", out, re.MULTILINE)
    assert re.search(r"^k_02 +team-x .* works$", out, re.MULTILINE)


@pytest.mark.parametrize("name", ["", "a b", "x" * 64, "-x"])
def test_a_bad_name_is_a_usage_error_and_makes_nothing(
    config: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert create(name, config=config) == 2
    assert capsys.readouterr().err.startswith("name must be ")
    assert not (config.parent / "relay.db").exists()


def test_a_name_stands_in_one_place(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("team-x", config=config)
    assert create("team-x", config=config) == 1
    assert create("in-file", config=config) == 1
    err = capsys.readouterr().err
    assert "a key named team-x exists" in err
    assert "is named in-file" in err


def test_json_lists_every_key_with_stable_names(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("team-a", models=("claude-*",), config=config)
    create("team-b", config=config)
    revoke("k_02", config=config)
    config.write_text('[[key]]\nname = "team-c"\nsecret = "env:C"\n')
    capsys.readouterr()
    assert list_keys(as_json=True, config=config) == 0
    first, second, third = json.loads(capsys.readouterr().out)["keys"]
    names = {"id", "name", "last4", "models", "created_at", "last_used_at", "revoked_at", "is_in_file"}
    assert first.keys() == second.keys() == third.keys() == names
    assert (first["id"], first["name"], first["models"]) == ("k_01", "team-a", ["claude-*"])
    assert first["created_at"] > 1e9
    assert (first["revoked_at"], first["last_used_at"], first["is_in_file"]) == (None, None, False)
    assert second["revoked_at"] > 1e9
    assert (third["id"], third["name"], third["models"], third["is_in_file"]) == ("cfg_team-c", "team-c", None, True)


def test_json_of_no_keys_is_an_empty_list(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("")
    assert list_keys(as_json=True, config=config) == 0
    assert json.loads(capsys.readouterr().out) == {"keys": []}


def test_an_unknown_id_is_an_error(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert revoke("k_99", config=config) == 1
    assert "no key has the id k_99" in capsys.readouterr().err


def test_a_list_makes_no_database(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("")
    assert list_keys(config=config) == 0
    assert "No keys yet: relay-trio keys create NAME" in capsys.readouterr().out
    assert not (config.parent / "relay.db").exists()


@pytest.mark.parametrize("verb", ["create", "list", "revoke"])
def test_a_bad_configuration_or_database_is_exit_1(config: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    argument = {"create": ["team-x"], "list": [], "revoke": ["k_01"]}[verb]
    (config.parent / "relay.db").write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    assert keys([verb, *argument, "--config", str(config)], result_action="return_value") == 1
    assert "relay.db: " in capsys.readouterr().err
    config.unlink()
    assert keys([verb, *argument, "--config", str(config)], result_action="return_value") == 1
    assert "relay-trio init" in capsys.readouterr().err


def test_models_are_given_as_words(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["create", "team-x", "--models", "claude-sonnet-*", "claude-haiku-*", "--config", str(config)]
    assert keys(line, result_action="return_value") == 0
    assert "models claude-sonnet-* claude-haiku-*" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("listeners", "url"),
    [
        ((Listener("127.0.0.1", 8400),), "http://127.0.0.1:8400"),
        ((Listener(path="/run/r.sock"), Listener("0.0.0.0", 80)), "http://127.0.0.1:80"),
        ((Listener("::", 80),), "http://[::1]:80"),
        ((Listener(path="/run/r.sock"),), "unix:/run/r.sock"),
    ],
)
def test_the_url_is_one_that_a_client_here_can_use(listeners: tuple[Listener, ...], url: str) -> None:
    assert client_url(ServerSettings(listeners=listeners)) == url
