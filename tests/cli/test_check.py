"""``relay-trio check``: all problems at once, effective values, and what the accounts' upstreams say."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from relay_trio.cli.check import check
from relay_trio.keys.key_store import open_key_store
from relay_trio.storage import sqlite
from relay_trio.vendors.registry import PROVIDERS
from tests.support.canned_upstream import API_KEY, account_toml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.canned_upstream import Served

LOCAL = '[server]\nlisteners = ["127.0.0.1:0"]\n'
KEY = '[[key]]\nname = "team-x"\nsecret = "env:ANTHROPIC_API_KEY"\n'


def test_a_sound_file_is_shown_with_what_its_accounts_say(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_upstream(200) as upstream:
        admin = '[admin]\nlistener = "127.0.0.1:0"\n'
        config_file.write_text(LOCAL + admin + account_toml("claude-a", upstream.base_url) + KEY)
        assert check(config=config_file) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "  server     127.0.0.1:0   plain http   admin 127.0.0.1:0   ledger relay.db (" in out
    assert "  timeouts   connect 5 s   first byte 120 s   whole answer 600 s   idle 300 s   total 3600 s" in out
    assert "  claude-a   anthropic   16 slots   models claude-*   key sk-ant-…9f2   reachable " in out
    assert out.endswith("key accepted\n")
    assert API_KEY not in out


def test_models_without_a_price_are_listed_and_the_lists_have_a_date(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_upstream(200) as upstream:
        models = 'models = ["claude-sonnet-4-5", "claude-of-tomorrow", "claude-*"]\n'
        config_file.write_text(LOCAL + account_toml("claude-a", upstream.base_url, models) + KEY)
        assert check(config=config_file) == 0
    out, err = capsys.readouterr()
    assert "claude-a: no price is known for claude-of-tomorrow\n" in err
    assert "  prices     genai-prices " in out


@pytest.mark.parametrize(("status", "text"), [(401, "key refused (401)"), (404, "is base_url right?")])
def test_an_account_that_cannot_be_used_is_exit_1(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str], status: int, text: str
) -> None:
    with serve_upstream(200) as good, serve_upstream(status) as bad:
        config_file.write_text(account_toml("good", good.base_url) + account_toml("bad", bad.base_url) + KEY)
        assert check(config=config_file) == 1
    out = capsys.readouterr().out
    assert "key accepted" in out
    assert text in out


def test_problems_are_printed_at_once_and_nothing_is_asked(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_upstream(200) as upstream:
        config_file.write_text(
            account_toml("a", upstream.base_url).replace("= 16", '= "ten"')
            + account_toml("b", upstream.base_url).replace("anthropic", "antropic")
        )
        assert check(config=config_file) == 1
        assert upstream.requests == []
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"{config_file}\n"
        '  account[0].max_concurrency   must be a whole number, got "ten"\n'
        f"  account[1].provider          must be one of {', '.join(PROVIDERS)}, "
        'got "antropic"   did you mean anthropic?\n'
        "2 problems. Nothing was started.\n"
    )


def test_a_listener_that_is_taken_is_named_and_may_be_the_running_relay(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_upstream(200) as upstream, socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        admin = f'[admin]\nlistener = "127.0.0.1:{port}"\n'
        config_file.write_text(LOCAL + admin + account_toml("claude-a", upstream.base_url) + KEY)
        assert check(config=config_file) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"admin.listener cannot listen on 127.0.0.1:{port}: Address already in use; another program")
    assert err.count("\n") == 1


def test_an_address_that_this_machine_has_not_is_a_problem(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = '[server]\nlisteners = ["127.0.0.1:0", "192.0.2.1:8400"]\nallow_insecure = true\n'
    config_file.write_text(server + account_toml("claude-a", "http://127.0.0.1:9") + KEY)
    assert check(config=config_file) == 1
    err = capsys.readouterr().err
    assert (
        "  server.listeners[1]   cannot listen on 192.0.2.1:8400: Cannot assign requested address; this machine" in err
    )


def test_a_directory_that_cannot_be_written_is_a_problem(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said of the directory by the system: root may write everywhere, so modes would not show it here."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK and access(path, mode))
    monkeypatch.setattr(sqlite, "_EFFECTIVE_IDS", False)
    config_file.write_text(account_toml("claude-a", "http://127.0.0.1:9") + KEY)
    assert check(config=config_file) == 1
    assert f"server.ledger   {config_file.parent}: cannot be written; make the file" in capsys.readouterr().err


def test_a_name_that_a_stored_key_has_is_a_problem(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_key_store(config_file.parent / "relay.db") as store:
        store.create("team-x")
    config_file.write_text(LOCAL + account_toml("claude-a", "http://127.0.0.1:9") + KEY)
    assert check(config=config_file) == 1
    assert "key[0].name   must be unique, and a key in the ledger has the same" in capsys.readouterr().err


def test_a_missing_file_names_init(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(config=config_file) == 1
    assert "relay-trio init writes one" in capsys.readouterr().err


def test_without_any_key_a_loopback_relay_gets_a_hint(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_upstream(200) as upstream:
        config_file.write_text(account_toml("claude-a", upstream.base_url))
        assert check(config=config_file) == 0
    assert "relay-trio keys create NAME" in capsys.readouterr().err


def test_without_any_key_a_public_relay_is_a_problem(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_file.write_text(
        '[server]\nlisteners = ["0.0.0.0:8400"]\nallow_insecure = true\n' + account_toml("a", "http://127.0.0.1:9")
    )
    assert check(config=config_file) == 1
    assert "server.listeners[0]   0.0.0.0:8400 can be reached from elsewhere" in capsys.readouterr().err


def test_check_leaves_no_database_behind(config_file: Path, serve_upstream: Served) -> None:
    with serve_upstream(200) as upstream:
        config_file.write_text(account_toml("claude-a", upstream.base_url) + KEY)
        check(config=config_file)
    assert [path.name for path in config_file.parent.iterdir()] == ["relay.toml"]


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(schema=True) == 0
    assert json.loads(capsys.readouterr().out)["properties"].keys() >= {"server", "account", "key"}


def test_a_relay_that_does_not_answer_is_said_without_numbers_of_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        url = f"http://127.0.0.1:{holder.getsockname()[1]}"
    assert check(url=url) == 1
    assert capsys.readouterr().err == f"{url}/healthz does not answer: Connection refused\n"


def test_an_upstream_that_cannot_be_reached_is_said_with_the_reason(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    config_file.write_text(LOCAL + account_toml("claude-a", f"http://127.0.0.1:{port}") + KEY)
    assert check(config=config_file) == 1
    assert f"cannot connect to 127.0.0.1:{port}: Connection refused\n" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["127.0.0.1:8400", "relay", "ftp://127.0.0.1:9"])
def test_what_is_no_url_is_a_usage_error(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(url=url) == 2
    assert "--url must be http://host:port" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_a_running_relay_is_asked_for_its_health(
    serve_upstream: Served, capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    with serve_upstream(status) as relay:
        assert check(url=relay.base_url + "/") == code
    assert relay.requests[0][0] == "GET /healthz HTTP/1.1"
    assert ("is alive" in capsys.readouterr().out) == (code == 0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:port"])
def test_a_relay_that_is_not_there_is_exit_1(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(url=url) == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_database_of_a_newer_version_is_a_problem(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file.parent / "relay.db"
    with open_key_store(path), closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    config_file.write_text(account_toml("a", "http://127.0.0.1:9"))
    assert check(config=config_file) == 1
    err = capsys.readouterr().err
    assert "  server.ledger   " in err
    assert "has schema 99" in err


def test_keys_in_the_ledger_are_counted(
    config_file: Path, serve_upstream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_key_store(config_file.parent / "relay.db") as store:
        store.create("team-x")
    with serve_upstream(200) as upstream:
        config_file.write_text(account_toml("a", upstream.base_url))
        assert check(config=config_file) == 0
    out, err = capsys.readouterr()
    assert "  keys       0 in relay.toml, 1 in the ledger\n" in out
    assert err == ""
