"""Each provider is found by its name, which its settings and the price list know too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from relay_trio.settings import AccountSettings
from relay_trio.vendors.registry import DIALECTS, PROVIDERS, provider_named

if TYPE_CHECKING:
    from relay_trio.api.provider import Provider


def test_a_provider_is_found_by_its_own_name() -> None:
    for name, provider in PROVIDERS.items():
        assert provider.name == name
        assert provider_named(name) is provider


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_settings_are_of_the_provider_that_has_them(provider: Provider[Any]) -> None:
    """``provider = "…"`` in relay.toml finds the class, and the class takes no other name."""
    assert issubclass(provider.settings_class, AccountSettings)
    assert get_args(provider.settings_class.model_fields["provider"].annotation) == (provider.name,)
    assert all(field.description for field in provider.settings_class.model_fields.values())


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        provider_named("nobody")


def test_operations_of_all_dialects_have_names_of_their_own() -> None:
    names = [operation.name for dialect in DIALECTS for operation in dialect.operations]
    assert len(set(names)) == len(names)
    assert all(operation.lists in {None, *names} for dialect in DIALECTS for operation in dialect.operations)


def test_what_a_provider_serves_is_an_operation_that_some_client_can_ask_for() -> None:
    names = {operation.name for dialect in DIALECTS for operation in dialect.operations}
    for provider in PROVIDERS.values():
        assert provider.calls
        assert provider.calls.keys() <= names
