"""A file and an environment become settings, or everything that is wrong with them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_trio.config import ConfigError, Settings, load, load_for_database
from relay_trio.config.root import tables
from relay_trio.settings import ServerSettings
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.vendors.registry import PROVIDERS
from tests.support.relay_toml import ACCOUNT, ENVIRON

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.relay_toml import Load, Problems


def test_the_smallest_useful_file_is_one_account(load_text: Load, tmp_path: Path) -> None:
    loaded = load_text()
    assert [account.name for account in loaded.account] == ["claude-a"]
    assert loaded.server == ServerSettings(ledger=tmp_path / "relay.db")
    assert loaded.model_copy(update={"account": (), "server": ServerSettings()}) == Settings()


def test_every_problem_is_reported_at_once_and_in_order(problems_of: Problems) -> None:
    problems = problems_of(
        '[server]\nlistners = []\n[loging]\n[logging]\nformat = "jsn"\n[[account]]\nname = "a"\nprovider = "antropic"\n'
        'api_key = "env:NOPE"\nmax_concurrency = "ten"\n[[key]]\nnaem = "x"\n'
    )
    assert problems == {
        "loging": "is not a section   did you mean logging?",
        "server.listners": "is not a setting   did you mean listeners?",
        "logging.format": 'must be one of auto, pretty, json, got "jsn"   did you mean json?',
        "account[0].api_key": "refers to the environment variable NOPE, which is not set",
        "account[0].max_concurrency": 'must be a whole number, got "ten"',
        "account[0].provider": f'must be one of {", ".join(PROVIDERS)}, got "antropic"   did you mean anthropic?',
        "key[0].naem": "is not a setting   did you mean name?",
        "key[0].name": "is required",
        "key[0].secret": "is required",
    }
    assert list(problems)[:4] == ["loging", "server.listners", "logging.format", "account[0].api_key"]


def test_a_setting_of_other_providers_says_whose_it_is(problems_of: Problems) -> None:
    """And a name that no provider has is a typo; both beside whatever else is wrong."""
    assert problems_of(account=ACCOUNT + 'regoin = "x"\nmodel = "x"\nprofile = "x"\nweight = 0\n') == {
        "account[0].model": "is not a setting   did you mean models?",
        "account[0].profile": 'is only for provider = "bedrock"',
        "account[0].regoin": "is not a setting",
        "account[0].weight": "must be at least 1, got 0",
    }


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("", "is required"),
        ("provider = 3\n", f"must be one of {', '.join(PROVIDERS)}, got 3"),
        ("provider = []\n", f"must be one of {', '.join(PROVIDERS)}, got a list"),
        (
            'provider = "env:ANTHROPIC_API_KEY"\n',
            f"must be one of {', '.join(PROVIDERS)}, got the value of env:ANTHROPIC_API_KEY",
        ),
    ],
)
def test_without_a_known_provider_the_rest_is_judged_as_far_as_it_can_be(
    problems_of: Problems, provider: str, message: str
) -> None:
    """Settings that only some providers have are neither right nor wrong yet."""
    account = '[[account]]\nname = "a b"\nregion = "x"\napi_key = "env:ANTHROPIC_API_KEY"\nwieght = 1\n' + provider
    problems = problems_of(account=account)
    assert problems.pop("account[0].provider") == message
    assert problems.keys() == {"account[0].name", "account[0].max_concurrency", "account[0].wieght"}


@pytest.mark.parametrize("account", ["", "account = []\n"])
def test_a_relay_without_accounts_is_a_problem(problems_of: Problems, account: str) -> None:
    assert list(problems_of(account=account)) == ["account"]


@pytest.mark.parametrize(
    ("text", "account", "path", "hint"),
    [
        ("server = 3\n", ACCOUNT, "server", "[server]"),
        ("", '[account]\nname = "a"\n', "account", "two brackets"),
        ("account = [3]\n", "", "account[0]", "[[account]]"),
        ("[[logging]]\n", ACCOUNT, "logging", "[logging]"),
    ],
)
def test_a_table_of_the_wrong_form_is_one_problem(
    problems_of: Problems, text: str, account: str, path: str, hint: str
) -> None:
    problems = problems_of(text, account=account)
    assert list(problems) == [path]
    assert hint in problems[path]


@pytest.mark.parametrize("name", ["workers", "state", "metrics_auth"])
def test_what_is_not_built_is_not_a_setting(problems_of: Problems, name: str) -> None:
    assert "is not a setting" in problems_of(f"[server]\n{name} = 1\n")[f"server.{name}"]


def test_a_secret_may_stand_in_a_file_that_only_its_owner_can_read(config_file: Path) -> None:
    """Beyond that both ways to repair it are named, and the secret is not."""
    config_file.write_text(ACCOUNT.replace("env:ANTHROPIC_API_KEY", "sk-written-out"))
    config_file.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        load(config_file, {})
    [problem] = caught.value.problems
    assert problem.path == "account[0].api_key"
    assert f"chmod 600 {config_file}" in problem.message
    assert "env:NAME or file:/path" in problem.message
    assert "sk-written-out" not in str(caught.value)
    config_file.chmod(0o600)
    assert load(config_file, {}).account[0].api_key.get_secret_value() == "sk-written-out"


def test_references_need_no_private_file(config_file: Path, load_text: Load) -> None:
    load_text()
    config_file.chmod(0o644)
    assert load(config_file, ENVIRON).account


def test_paths_start_at_the_file_wherever_the_command_is_run(
    load_text: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert load_text().server.ledger == tmp_path / "relay.db"
    assert load_text('[server]\nledger = "other.db"\n').server.ledger == tmp_path / "other.db"
    assert load_text(f'[server]\nledger = "{tmp_path}/x.db"\n').server.ledger == tmp_path / "x.db"


@pytest.mark.parametrize("ledger", ['""', "3", '"a\\u0000b"', '"."'])
def test_a_path_that_is_none_is_a_problem(problems_of: Problems, ledger: str) -> None:
    assert list(problems_of(f"[server]\nledger = {ledger}\n")) == ["server.ledger"]


def test_the_database_is_found_without_any_accounts_secret(config_file: Path, tmp_path: Path) -> None:
    """``keys`` and ``usage`` run in a shell that has no upstream's key."""
    config_file.write_text(ACCOUNT + '[[key]]\nname = "team-x"\nsecret = "env:NOPE"\n[[key]]\nname = 3\n')
    found = load_for_database(config_file, {"RELAY_SERVER__LEDGER": "other.db"})
    assert found.server.ledger == tmp_path / "other.db"
    assert found.key_names == ("team-x",)


def test_accounts_are_known_without_their_secrets(config_file: Path) -> None:
    """What clients know of them: which there are, where, and with which models. One that is not sound is left out."""
    config_file.write_text("""
[[account]]
name = "claude"
provider = "anthropic"
api_key = "env:NOPE"
max_concurrency = 1
models = ["claude-*"]

[[account]]
name = "bedrock"
provider = "bedrock"
region = "env:HOME_REGION"
access_key_id = "env:NOPE"
secret_access_key = "file:nope"
max_concurrency = 1

[[account]]
name = "vertex"
provider = "vertex"
project = "my-ai"
location = "global"
credentials = "file:nope.json"
max_concurrency = 1

[[account]]
name = "express"
provider = "vertex"
api_key = "env:NOPE"
max_concurrency = 1

[[account]]
name = "unsound"
provider = "bedrock"
max_concurrency = 1
""")
    found = load_for_database(config_file, {"HOME_REGION": "eu-central-1"})
    assert [account.name for account in found.accounts] == ["claude", "bedrock", "vertex", "express"]
    assert found.accounts[0].models == ("claude-*",)
    assert isinstance(found.accounts[1], BedrockSettings)
    assert found.accounts[1].region == "eu-central-1"


@pytest.mark.parametrize("accounts", ["account = 3", "account = [3]", "[account]"])
def test_tables_that_are_no_accounts_are_none(config_file: Path, accounts: str) -> None:
    config_file.write_text(accounts)
    assert load_for_database(config_file, {}).accounts == ()


def test_a_bad_server_section_is_a_problem_for_the_database_too(config_file: Path) -> None:
    config_file.write_text("[server]\nledger = 3\n")
    with pytest.raises(ConfigError, match=r"server\.ledger"):
        load_for_database(config_file, {})


plain = st.one_of(
    st.text(max_size=12),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.sampled_from(["env:K", "env:", "file:", "file:/etc", "unix:/x", "https://h", "http://[", "\0", *PROVIDERS]),
)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
names = st.one_of(
    st.sampled_from(sorted({name for table in tables() for name in table.model_fields})),
    st.text(max_size=5),
)
tomls = st.dictionaries(names, values, max_size=4)
documents = st.dictionaries(
    st.sampled_from([*Settings.model_fields, "else"]),
    st.one_of(values, tomls, st.lists(st.one_of(tomls, values), max_size=3)),
    max_size=5,
)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(document=documents, variable=names, value=st.text(st.characters(exclude_characters="\0"), max_size=8))
def test_garbage_is_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], variable: str, value: str
) -> None:
    """Whatever TOML holds, nothing is raised but ConfigError, with at least one problem, each on one line."""
    path = tmp_path_factory.mktemp("garbage") / "relay.toml"
    path.write_text(
        "".join(f"{written_key(name)} = {written_value(table)}\n" for name, table in document.items()), "utf-8"
    )
    problems = None
    try:
        load(path, {f"RELAY_SERVER__{variable}": value, "K": "k"})
    except ConfigError as error:
        problems = error.problems
    assert problems is None or len(problems) > 0
    assert all(f"{problem.path}{problem.message}".isprintable() for problem in problems or ())


def written_key(name: str) -> str:
    return json.dumps(name).replace("\x7f", "\\u007f")


def written_value(value: object) -> str:
    """TOML for a drawn value; inline, so that any nesting has one form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written_key(key)} = {written_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
