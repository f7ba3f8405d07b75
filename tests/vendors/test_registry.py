"""The list of providers is the list that the configuration accepts."""

from __future__ import annotations

import pytest

from relay_trio.settings import PROVIDERS as CONFIGURABLE
from relay_trio.vendors.registry import PROVIDERS, provider_named


def test_what_can_be_configured_is_what_there_is() -> None:
    assert set(CONFIGURABLE) == set(PROVIDERS)


def test_a_provider_is_found_by_its_own_name() -> None:
    for name, provider in PROVIDERS.items():
        assert provider.name == name
        assert provider_named(name) is provider


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        provider_named("nobody")
