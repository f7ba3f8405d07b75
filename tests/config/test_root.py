"""relay.toml as a whole: which class each account has, which settings are secret, and the schema."""

from __future__ import annotations

import json

import pydantic
import pytest

from relay_trio.config import Settings
from relay_trio.config.root import secret_keys, tables
from relay_trio.vendors.registry import PROVIDERS

PLAIN = {"name": "a", "max_concurrency": 1, "api_key": "k", "region": "eu-central-1"}


def test_an_account_has_the_class_of_its_provider() -> None:
    for name, provider in PROVIDERS.items():
        fields = {key: value for key, value in PLAIN.items() if key in provider.settings_class.model_fields}
        [account] = Settings.model_validate({"account": [{"provider": name, **fields}]}).account
        assert type(account) is provider.settings_class


def test_an_account_of_no_provider_is_none() -> None:
    with pytest.raises(pydantic.ValidationError, match="provider"):
        Settings.model_validate({"account": [{"provider": "nobody", **PLAIN}]})


def test_every_secret_is_known_to_the_messages() -> None:
    """The names whose values no message shows are exactly those of the secret settings."""
    secret = {name for table in tables() for name, field in table.model_fields.items() if "Secret" in repr(field)}
    assert secret == secret_keys()
    assert secret >= {"api_key", "proxy", "secret", "token", "sigv4_secret"}


def test_the_schema_names_each_provider_and_no_python_type() -> None:
    schema = json.dumps(Settings.model_json_schema())
    assert all(f'"const": "{name}"' in schema for name in PROVIDERS)
    assert '"default": "127.0.0.1:8401"' in schema
    assert '"path": ""' not in schema
