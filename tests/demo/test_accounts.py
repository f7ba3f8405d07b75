"""The demo's accounts: relay.toml takes them, and the simulator knows who is who."""

from __future__ import annotations

from relay_trio.config import Settings
from relay_trio.demo.accounts import ACCOUNTS
from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS
from relay_trio.vendors.registry import provider_named

BASE_URL = "http://127.0.0.1:9"


def test_every_account_is_valid_and_at_the_simulated_upstream() -> None:
    settings = Settings.model_validate({"account": [account.table(BASE_URL) for account in ACCOUNTS]})
    assert {account.base_url for account in settings.account} == {BASE_URL}
    assert {account.provider for account in settings.account} == {"anthropic", "bedrock", "gemini"}
    assert [account.max_concurrency for account in settings.account] == [account.slots for account in ACCOUNTS]
    assert all(provider_named(account.provider).static_credential(account) is not None for account in settings.account)


def test_the_simulator_tells_accounts_apart_by_their_credentials() -> None:
    credentials = [account.credential for account in ACCOUNTS]
    assert len(set(credentials)) == len(ACCOUNTS)
    tables = [account.table(BASE_URL) for account in ACCOUNTS]
    assert credentials == [table.get("access_key_id") or table["api_key"] for table in tables]


def test_what_signs_is_a_pair_that_the_simulator_verifies() -> None:
    (bedrock,) = (account.table(BASE_URL) for account in ACCOUNTS if account.provider == "bedrock")
    assert bedrock["secret_access_key"] == ACCESS_KEYS[str(bedrock["access_key_id"])].secret
    assert "api_key" not in bedrock
