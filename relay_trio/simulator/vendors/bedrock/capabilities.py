"""What Bedrock refuses of the Messages API: betas, members of the body, of tools and of blocks that it does not know.

The words are the service's own. This list is independent of the relay's table, which it tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.simulator.vendors.claude.requests import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BETAS = frozenset({
    "computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24", "context-1m-2025-08-07",
    "dev-full-thinking-2025-05-14", "interleaved-thinking-2025-05-14", "output-128k-2025-02-19",
})  # fmt: skip
_MEMBERS = frozenset({
    "anthropic_beta", "anthropic_version", "max_tokens", "messages", "metadata", "stop_sequences", "system",
    "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
})  # fmt: skip
_NEW_TOOL_MEMBERS = ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples", "strict")
_NEW_TOOL_TYPES = ("advisor_", "mcp_toolset", "tool_search_tool_")
_CACHE_MEMBERS = frozenset({"type", "ttl"})


def check_capabilities(document: dict[str, Any], betas: Iterable[str]) -> None:
    """
    Raises:
        Invalid: the request uses what the service does not know.
    """
    if not BETAS.issuperset(betas):
        raise Invalid("invalid beta flag")
    for place in _extra_inputs(document):
        raise Invalid(f"{place}: Extra inputs are not permitted")


def _extra_inputs(document: dict[str, Any]) -> Iterator[str]:
    yield from (name for name in document if name not in _MEMBERS)
    for index, tool in enumerate(_objects(document.get("tools"))):
        kind = tool.get("type", "custom")
        if isinstance(kind, str) and kind.startswith(_NEW_TOOL_TYPES):
            raise _unknown_tag(f"tools.{index}", kind)
        yield from (f"tools.{index}.custom.{name}" for name in _NEW_TOOL_MEMBERS if name in tool)
        yield from _extra_of_cache(f"tools.{index}.custom", tool)
    yield from _extra_of_blocks("system", document.get("system"))
    for index, message in enumerate(_objects(document.get("messages"))):
        yield from _extra_of_blocks(f"messages.{index}.content", message.get("content"))


def _extra_of_blocks(place: str, blocks: object) -> Iterator[str]:
    for index, block in enumerate(_objects(blocks)):
        if block.get("type") == "tool_reference":
            raise _unknown_tag(f"{place}.{index}", "tool_reference")
        yield from _extra_of_cache(f"{place}.{index}.{block.get('type')}", block)
        yield from _extra_of_blocks(f"{place}.{index}.{block.get('type')}.content", block.get("content"))


def _extra_of_cache(place: str, owner: dict[str, Any]) -> Iterator[str]:
    cache = owner.get("cache_control")
    if isinstance(cache, dict):
        yield from (f"{place}.cache_control.ephemeral.{name}" for name in cache if name not in _CACHE_MEMBERS)


def _unknown_tag(place: str, kind: str) -> Invalid:
    return Invalid(f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags")


def _objects(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
