"""Every provider the relay has: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.vendors.bedrock.provider import Bedrock
from relay_trio.vendors.claude.operations import MESSAGES
from relay_trio.vendors.claude.provider import Claude
from relay_trio.vendors.gemini.provider import Gemini
from relay_trio.vendors.translations.claude_bedrock import ClaudeOnBedrock
from relay_trio.vendors.vertex.provider import Vertex

if TYPE_CHECKING:
    from relay_trio.api.provider import Provider

PROVIDERS: dict[str, Provider[Any]] = {
    provider.name: provider
    for provider in (
        Claude(),
        Bedrock({MESSAGES.name: ClaudeOnBedrock()}),
        Gemini(),
        Vertex(),
    )
}


def provider_named(name: str) -> Provider[Any]:
    """The provider of that name.

    Raises:
        KeyError: there is none; configuration has checked the names.
    """
    return PROVIDERS[name]
