"""Upstream accounts for tests: as tables of relay.toml, and as the settings that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.vendors.registry import PROVIDERS

if TYPE_CHECKING:
    from relay_trio.vendors.bedrock.settings import BedrockSettings
    from relay_trio.vendors.claude.settings import ClaudeSettings
    from relay_trio.vendors.gemini.settings import GeminiSettings
    from relay_trio.vendors.vertex.settings import VertexSettings

ACCOUNT_KEYS = ("sk-canary-account-one", "sk-canary-account-two")
REGION = "eu-central-1"
AWS_PAIR = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
"""The example credentials that the simulator accepts."""


def account_settings(provider: str, **settings: Any) -> Any:
    """An account of ``provider``, of that provider's class of settings. It is called ``a`` and has one slot."""
    plain = {"name": "a", "provider": provider, "max_concurrency": 1}
    return PROVIDERS[provider].settings_class.model_validate(plain | settings)


def claude_settings(**settings: Any) -> ClaudeSettings:
    """An account with an API key at Anthropic."""
    made: ClaudeSettings = account_settings("anthropic", **{"api_key": "sk-account"} | settings)
    return made


def bedrock_settings(**settings: Any) -> BedrockSettings:
    """An account that has its credential from the environment, unless ``settings`` hold one."""
    made: BedrockSettings = account_settings("bedrock", **{"region": REGION} | settings)
    return made


def gemini_settings(**settings: Any) -> GeminiSettings:
    """An account with an API key at the Gemini API."""
    made: GeminiSettings = account_settings("gemini", **{"api_key": "AIza-account"} | settings)
    return made


def vertex_settings(**settings: Any) -> VertexSettings:
    """An account that has its token from the environment, unless ``settings`` hold a credential."""
    where = {} if "api_key" in settings else {"project": "mine", "location": "europe-west4"}
    made: VertexSettings = account_settings("vertex", **where | settings)
    return made


def account(name: str, base_url: str, *, number: int = 0, **settings: object) -> dict[str, object]:
    """An account with an API key, at Anthropic unless ``provider`` says otherwise. ``number``: which of the keys."""
    secret = ACCOUNT_KEYS[number]
    plain = {"name": name, "provider": "anthropic", "api_key": secret, "base_url": base_url, "max_concurrency": 4}
    return plain | settings


def bedrock_account(name: str, base_url: str, **settings: object) -> dict[str, object]:
    """An account that signs, unless it has an API key."""
    plain = {"name": name, "provider": "bedrock", "region": REGION, "base_url": base_url, "max_concurrency": 4}
    return plain | ({} if "api_key" in settings else AWS_PAIR) | settings


def gemini_account(name: str, base_url: str, *, number: int = 0, **settings: object) -> dict[str, object]:
    """An account with an API key at the Gemini API."""
    return account(name, base_url, number=number, provider="gemini", **settings)


def vertex_account(name: str, base_url: str, **settings: object) -> dict[str, object]:
    """An account whose token a command prints."""
    plain = {"name": name, "provider": "vertex", "base_url": base_url, "max_concurrency": 4}
    where = {"project": "mine", "location": "europe-west4", "token_command": ["printf", ACCOUNT_KEYS[0]]}
    return plain | where | settings
