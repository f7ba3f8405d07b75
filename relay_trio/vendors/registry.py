"""Every vendor that the relay has: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.vendor import Vendor
from relay_trio.vendors.bedrock.dialect import BedrockDialect
from relay_trio.vendors.bedrock.provider import Bedrock
from relay_trio.vendors.claude.dialect import ClaudeDialect
from relay_trio.vendors.claude.operations import COUNT_TOKENS, MESSAGES
from relay_trio.vendors.claude.provider import Claude
from relay_trio.vendors.gemini.dialect import GeminiDialect
from relay_trio.vendors.gemini.provider import Gemini
from relay_trio.vendors.translations.claude_bedrock import ClaudeOnBedrock
from relay_trio.vendors.translations.claude_bedrock_count import ClaudeCountOnBedrock
from relay_trio.vendors.vertex.provider import Vertex

if TYPE_CHECKING:
    from relay_trio.api.dialect import Dialect
    from relay_trio.api.model_list import ModelListing
    from relay_trio.api.provider import Provider
    from relay_trio.http import ClientHead

VENDORS = (
    Vendor(Claude(), ClaudeDialect()),
    Vendor(Bedrock({MESSAGES.name: ClaudeOnBedrock(), COUNT_TOKENS.name: ClaudeCountOnBedrock()}), BedrockDialect()),
    Vendor(Gemini(), GeminiDialect()),
    Vendor(Vertex()),
)

PROVIDERS: dict[str, Provider[Any]] = {vendor.provider.name: vendor.provider for vendor in VENDORS}

DIALECTS: tuple[Dialect, ...] = tuple(vendor.dialect for vendor in reversed(VENDORS) if vendor.dialect is not None)
"""In the order in which they are tried for a request: the first vendor's comes last, and claims everything."""

LISTINGS: dict[str, ModelListing] = {
    operation.name: operation.lists for dialect in DIALECTS for operation in dialect.operations if operation.lists
}
"""How models are listed, by the names of the operations that do."""


def provider_named(name: str) -> Provider[Any]:
    """The provider of that name.

    Raises:
        KeyError: there is none; configuration has checked the names.
    """
    return PROVIDERS[name]


def dialect_of(head: ClientHead) -> Dialect:
    """The dialect in which a request is answered that fits no route."""
    return next(dialect for dialect in DIALECTS if dialect.claims(head))
