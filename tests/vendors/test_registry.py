"""Each provider is found by its name, which its settings and the price list know too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from relay_trio.pool.account import Account
from relay_trio.pool.health import Health
from relay_trio.settings import AccountSettings, BreakerSettings, TimeoutSettings
from relay_trio.vendors.registry import DIALECTS, LISTINGS, PROVIDERS, provider_named
from tests.support.accounts import account_settings

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
    assert {listing.of for listing in LISTINGS.values()} <= set(names)


def test_what_a_provider_serves_is_an_operation_that_some_client_can_ask_for() -> None:
    names = {operation.name for dialect in DIALECTS for operation in dialect.operations}
    for provider in PROVIDERS.values():
        assert provider.calls
        assert provider.calls.keys() <= names


# --- who serves a model, where no account says -----------------------------------------------------------------------

ACCOUNTS = {
    "anthropic": account_settings("anthropic", api_key="k"),
    "bedrock": account_settings(
        "bedrock", api_key="k", region="eu-central-1", model_ids={"claude-sonnet-4-5": "eu.anthropic.claude-sonnet-4-5"}
    ),
    "gemini": account_settings("gemini", api_key="k"),
    "vertex": account_settings("vertex", api_key="k"),
}
MESSAGES = "claude.messages"
GENERATE = "gemini.generate"
INVOKE = "bedrock.invoke"


@pytest.mark.parametrize(
    ("operation", "model", "providers"),
    [
        (MESSAGES, "claude-2.1", "anthropic"),
        (MESSAGES, "claude-opus-4-6", "anthropic"),
        (MESSAGES, "claude-opus-4-6[1m]", "anthropic"),
        (MESSAGES, "claude-sonnet-4@20250514", "anthropic"),
        (MESSAGES, "claude-sonnet-4-5", "anthropic bedrock"),
        (MESSAGES, "claude-sonnet-4-5[1m]", "anthropic bedrock"),
        (MESSAGES, "claude-sonnet-4-5-20250929", "anthropic"),
        (MESSAGES, "anthropic.claude-opus-4-6-v1", "bedrock"),
        (MESSAGES, "us-gov.anthropic.claude-3-5-sonnet-20240620-v1:0", "bedrock"),
        (MESSAGES, "global.anthropic.claude-opus-4-6-v1[1m]", "bedrock"),
        (MESSAGES, "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/x1", "bedrock"),
        (MESSAGES, "amazon.nova-lite-v1:0", ""),
        (MESSAGES, "gpt-4.1", ""),
        (MESSAGES, "gpt-4.1-mini", ""),
        (MESSAGES, "gemini-2.5-pro", ""),
        (MESSAGES, "qwen2.5-coder", ""),
        (GENERATE, "gemini-2.5-pro", "gemini vertex"),
        (GENERATE, "gemma-3-27b-it", "gemini vertex"),
        (GENERATE, "claude-sonnet-4-5", ""),
        (GENERATE, "gpt-4.1", ""),
        (INVOKE, "amazon.nova-lite-v1:0", "bedrock"),
        (INVOKE, "us.meta.llama3-2-11b-instruct-v1:0", "bedrock"),
        (INVOKE, "openai.gpt-oss-120b-1:0", "bedrock"),
        (INVOKE, "gpt-4.1", ""),
        (INVOKE, "claude-2.1", ""),
    ],
)
def test_an_account_without_models_serves_its_own_providers_names_alone(
    operation: str, model: str, providers: str
) -> None:
    serving = [
        name
        for name, settings in ACCOUNTS.items()
        if Account(settings, PROVIDERS[name], TimeoutSettings(), Health(BreakerSettings())).serves(model, operation)
    ]
    assert serving == providers.split()


def test_models_that_are_given_do_not_make_a_translation_of_what_cannot_be_one() -> None:
    """``models = ["*"]`` at Bedrock is for its own clients: a name of another API would only be refused there."""
    settings = account_settings("bedrock", api_key="k", region="eu-central-1", models=["*"])
    account = Account(settings, PROVIDERS["bedrock"], TimeoutSettings(), Health(BreakerSettings()))
    assert account.serves("gpt-4.1", INVOKE)
    assert not account.serves("gpt-4.1", MESSAGES)
    assert account.patterns(MESSAGES) == ("anthropic.*", "*.anthropic.*", "arn:*")
