"""What concerns several tables at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from relay_trio.config import Settings, start_problems
from relay_trio.settings import Listener, ServerSettings
from tests.support.relay_toml import ACCOUNT, write_certificate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.relay_toml import Load, Problems

KEY = '[[key]]\nname = "{}"\nsecret = "env:{}"\n'


def test_two_accounts_of_one_name_are_a_problem_even_if_one_is_unsound(problems_of: Problems) -> None:
    problems = problems_of(account=ACCOUNT + ACCOUNT.replace("16", "-1"))
    assert problems == {
        "account[1].name": "must be unique, and account[0] has the same",
        "account[1].max_concurrency": "must be at least 1, got -1",
    }


def test_two_keys_need_two_names_and_two_secrets(problems_of: Problems) -> None:
    problems = problems_of(
        KEY.format("k", "A") + KEY.format("k", "B") + KEY.format("l", "A"), {"A": "s3cret", "B": "b"}
    )
    assert problems == {
        "key[1].name": "must be unique, and key[0] has the same",
        "key[2].secret": "must be unique, and key[0] has the same",
    }


def test_listeners_must_not_clash(problems_of: Problems) -> None:
    problems = problems_of('[server]\nlisteners = ["127.0.0.1:8401", "127.0.0.1:1", "127.0.0.1:1"]\n')
    assert problems == {
        "server.listeners[2]": "must be unique, and server.listeners[1] is 127.0.0.1:1 too",
        "admin.listener": "must be unique, and server.listeners[0] is 127.0.0.1:8401 too",
    }


def test_any_free_port_clashes_with_nothing(load_text: Load) -> None:
    load_text('[server]\nlisteners = ["127.0.0.1:0", "127.0.0.1:0"]\n[admin]\nlistener = "127.0.0.1:0"\n')


def test_a_public_address_needs_tls(problems_of: Problems) -> None:
    problems = problems_of('[server]\nlisteners = ["127.0.0.1:1", "0.0.0.0:8400", "unix:/run/relay.sock"]\n')
    assert list(problems) == ["server.listeners[1]"]
    assert "allow_insecure" in problems["server.listeners[1]"]


def test_tls_or_allow_insecure_opens_a_public_address(load_text: Load, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    settings = load_text('[server]\nlisteners = ["0.0.0.0:1"]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n')
    assert settings.server.tls_cert == tmp_path / "cert.pem"
    load_text('[server]\nlisteners = ["0.0.0.0:1"]\nallow_insecure = true\n')


TLS = '[server]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n'


def test_a_private_key_that_others_may_use_is_refused(problems_of: Problems, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    message = problems_of(TLS)["server.tls_key"]
    assert message.endswith(f"(mode 0644): chmod 600 {tmp_path / 'key.pem'}")


def test_a_key_of_another_certificate_is_found_before_the_start(problems_of: Problems, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    write_certificate(tmp_path, "other-")
    message = problems_of(TLS.replace("key.pem", "other-key.pem"))["server.tls_key"]
    assert message.startswith("must be the private key of tls_cert")


def test_what_is_no_certificate_is_found_before_the_start(problems_of: Problems, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    (tmp_path / "cert.pem").write_text("hello")
    assert problems_of(TLS)["server.tls_cert"].startswith("must be a certificate in PEM")


def test_a_key_with_a_password_is_found_before_the_start(problems_of: Problems, tmp_path: Path) -> None:
    """Without this, OpenSSL asks at the terminal, and a service waits for an answer that nobody gives."""
    write_certificate(tmp_path)
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    assert problems_of(TLS) == {
        "server.tls_key": f"must be a key without a password, and {tmp_path / 'key.pem'} has one"
    }


def test_tls_files_must_be_there(problems_of: Problems, tmp_path: Path) -> None:
    problems = problems_of('[server]\ntls_cert = "cert.pem"\ntls_key = "/nowhere/key.pem"\n')
    assert problems == {
        "server.tls_cert": f"must be a file that can be read, got {tmp_path / 'cert.pem'}",
        "server.tls_key": "must be a file that can be read, got /nowhere/key.pem",
    }


def test_a_ca_file_must_hold_certificates(problems_of: Problems, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (problem,) = problems_of('[upstream]\nca_file = "empty.pem"\n').items()
    assert problem[0] == "upstream.ca_file"
    assert "no certificate" in problem[1]
    (problem,) = problems_of('[upstream]\nca_file = "/nowhere/ca.pem"\n').items()
    assert "No such file" in problem[1]


@pytest.mark.parametrize(
    "url",
    [
        "https://host:1",
        "host:1",
        "http://host",
        "http://host:0",
        "http://:3128",
        "http://canary:word@host",
        "http://h:1/path",
        "socks5://canary@h:1",
    ],
)
def test_a_proxy_is_a_plain_http_address_and_never_quoted(problems_of: Problems, url: str) -> None:
    (problem,) = problems_of(f'[upstream]\nproxy = "{url}"\n').items()
    assert problem[0] == "upstream.proxy"
    assert "canary" not in problem[1]


def test_the_ledger_needs_a_directory_and_is_none(problems_of: Problems, tmp_path: Path) -> None:
    assert problems_of('[server]\nledger = "data/relay.db"\n') == {
        "server.ledger": f"must be in a directory that exists: mkdir -p {tmp_path / 'data'}"
    }
    (tmp_path / "data").mkdir()
    assert list(problems_of('[server]\nledger = "data"\n')) == ["server.ledger"]


@pytest.mark.parametrize(
    ("server", "stored", "count"),
    [
        (ServerSettings(), (), 0),
        (ServerSettings(listeners=(Listener(path="/run/relay.sock"),)), (), 0),
        (ServerSettings(listeners=(Listener("0.0.0.0", 1),)), ("a",), 1),
        (ServerSettings(listeners=(Listener("0.0.0.0", 1),)), (), 2),
        (ServerSettings(listeners=(Listener("0.0.0.0", 1),), allow_insecure=True), (), 1),
        (ServerSettings(listeners=(Listener("0.0.0.0", 1),), allow_insecure=True), ("a",), 0),
    ],
)
def test_a_public_address_needs_keys_and_encryption(
    server: ServerSettings, stored: tuple[str, ...], count: int
) -> None:
    assert len(start_problems(Settings(server=server), stored)) == count


def test_secrets_that_can_be_guessed_are_for_loopback_only(load_text: Load) -> None:
    key = '[[key]]\nname = "a"\nsecret = "env:A"\n'
    public = '[server]\nlisteners = ["0.0.0.0:1"]\nallow_insecure = true\n'
    admin = '[admin]\nlistener = "0.0.0.0:2"\ntoken = "env:T"\n'
    short, long = {"A": "rt_short", "T": "short"}, {"A": "x" * 16, "T": "x" * 16}
    assert start_problems(load_text(key, short), ()) == ()
    assert start_problems(load_text(public + admin + key, long), ()) == ()
    found = {problem.path: problem.message for problem in start_problems(load_text(public + admin + key, short), ())}
    expected = "must have 16 characters or more, because {} can be reached from elsewhere; try openssl rand -hex 32"
    assert found == {"key[0].secret": expected.format("0.0.0.0:1"), "admin.token": expected.format("0.0.0.0:2")}


def test_a_name_in_file_and_ledger_is_found_before_the_start(load_text: Load) -> None:
    settings = load_text('[[key]]\nname = "a"\nsecret = "env:ANTHROPIC_API_KEY"\n')
    assert [problem.path for problem in start_problems(settings, ("b", "a"))] == ["key[0].name"]
