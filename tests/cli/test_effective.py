"""What ``check`` shows of a sound configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from relay_trio.cli.effective import account_row, effective, short_path
from relay_trio.config import Settings
from relay_trio.settings import BreakerSettings, RetrySettings
from relay_trio.vendors.claude.settings import ClaudeSettings

if TYPE_CHECKING:
    import pytest


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
    assert rows["breaker"] == ["off: no account is ejected", "obeys retry-after up to 300 s"]


def test_an_account_is_one_row() -> None:
    account = ClaudeSettings(
        name="claude-a", provider="anthropic", api_key=SecretStr("sk-ant-api03-abcdef9f2"), max_concurrency=16
    )
    assert account_row(account) == ("claude-a", "anthropic", "16 slots", "models claude-*", "key sk-ant-…9f2")


def test_a_path_is_shown_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "relay.db") == "relay.db"
    assert short_path(Path("relay.db")) == "relay.db"
    assert short_path(Path("/var/lib/relay.db")) == "/var/lib/relay.db"
