"""What ``check`` shows of a sound configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from relay_trio.cli.effective import account_row, effective, masked, short_path
from relay_trio.config import Settings
from relay_trio.settings import AccountSettings, BreakerSettings, RetrySettings


@pytest.mark.parametrize(
    ("secret", "shown"),
    [("sk-ant-api03-abcdef9f2", "sk-ant-…9f2"), ("x" * 20, "xxxxxxx…xxx"), ("x" * 19, "…"), ("", "…")],
)
def test_a_secret_is_masked_and_a_short_one_wholly(secret: str, shown: str) -> None:
    assert masked(secret) == shown


def test_every_limit_on_time_is_shown() -> None:
    """A hidden time-out is a complaint of operators of other relays."""
    settings = Settings()
    text = "\n".join("   ".join(row) for row in effective(settings, "relay.db", "none"))
    for name, value in settings.timeouts.model_dump().items():
        assert f"{name.removesuffix('_timeout_seconds').replace('_', ' ')} {value:g} s" in text


def test_what_is_switched_off_says_so() -> None:
    settings = Settings(retry=RetrySettings(enabled=False), breaker=BreakerSettings(enabled=False))
    rows = {name: values for name, *values in effective(settings, "relay.db", "none")}
    assert rows["retry"] == ["off"]
    assert rows["breaker"] == ["off", "retry-after up to 300 s"]


def test_an_account_is_one_row() -> None:
    account = AccountSettings(
        name="claude-a", provider="anthropic", api_key=SecretStr("sk-ant-api03-abcdef9f2"), max_concurrency=16
    )
    assert account_row(account) == ("claude-a", "anthropic", "16 slots", "models *", "key sk-ant-…9f2")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"token_command": ["gcloud", "auth", "canary"]}, "token of gcloud, project my-ai in global"),
        ({"token_file": "/run/token"}, "token in /run/token, project my-ai in global"),
        ({"credentials": '{"type": "service_account"}'}, "Google credentials, project my-ai in global"),
        ({}, "Google's default credentials, project my-ai in global"),
        ({"api_key": "AQ.0123456789abcdef0123", "project": None, "location": None}, "key AQ.0123…123"),
    ],
)
def test_an_account_at_vertex_shows_where_its_token_comes_from(changes: dict[str, object], shown: str) -> None:
    where = {"project": "my-ai", "location": "global"}
    plain = {"name": "v", "provider": "vertex", "max_concurrency": 1}
    account = AccountSettings.model_validate(plain | where | changes)
    assert account_row(account)[-1] == shown


def test_a_path_is_shown_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "relay.db") == "relay.db"
    assert short_path(Path("relay.db")) == "relay.db"
    assert short_path(Path("/var/lib/relay.db")) == "/var/lib/relay.db"
