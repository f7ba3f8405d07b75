"""Every provider the relay has: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.providers.bedrock import Bedrock
from relay_trio.providers.claude import Claude
from relay_trio.providers.gemini import Gemini
from relay_trio.providers.vertex import Vertex

if TYPE_CHECKING:
    from relay_trio.providers.base import Provider

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (Claude(), Bedrock(), Gemini(), Vertex())}


def provider_named(name: str) -> Provider:
    """The provider of that name.

    Raises:
        KeyError: there is none; configuration has checked the names.
    """
    return PROVIDERS[name]
