"""``usage`` of Claude's answers, as Anthropic's API, Bedrock and Vertex AI have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.metering import CACHED_5M, NOTHING, UsageFold, count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_creation_input_tokens": "cache_creation_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
}

_SPLIT_FIELDS = {"ephemeral_5m_input_tokens": CACHED_5M, "ephemeral_1h_input_tokens": "cache_creation_1h_tokens"}
"""Members of ``cache_creation``, which splits what was written to the cache by how long it is kept."""

_WORDS = ("service_tier", "speed", "inference_geo")

_SEARCHES = "web_search_requests"
_PRICED_OR_FREE_TOOLS = frozenset({_SEARCHES, "web_fetch_requests", "tool_search_requests"})
"""Members of ``server_tool_use``. The last two cost nothing but the tokens of what was found."""

_OWN_STEP = "message"
"""The kind of the steps that the figures of the whole are made of. A compaction and an advisor are not in these, and a
fallback is, but was another model's."""


class ClaudeUsage(UsageFold):
    """Folds ``usage``, and the members inside it that a price depends on."""

    def __init__(self, fields: Mapping[str, str] = USAGE_FIELDS, known: Mapping[str, int | str] = NOTHING) -> None:
        super().__init__(fields, known)

    def is_zero_meant(self, usage: dict[str, Any]) -> bool:
        """Whether it shows each step of the answer. After a compaction, which is recorded, the context is another one,
        and so is what was read of the cache."""
        return bool(usage.get("iterations"))

    def overwrite(self, usage: object, beside: Mapping[str, Any] = NOTHING) -> None:
        """Fold in one ``usage``. What stands deeper in it and cannot be read is left."""
        super().overwrite(usage, beside)
        if not isinstance(usage, dict):
            return
        for name in _WORDS:
            if name in usage:
                self.put_word(name, usage[name])
        split = usage.get("cache_creation")
        if isinstance(split, dict):
            for theirs, ours in _SPLIT_FIELDS.items():
                self.put(ours, count_of(split.get(theirs)) or 0)
        tools = usage.get("server_tool_use")
        steps = usage.get("iterations")
        others = 0
        if isinstance(tools, dict):
            self.put("web_searches", count_of(tools.get(_SEARCHES)) or 0)
            others = sum(count_of(count) or 0 for name, count in tools.items() if name not in _PRICED_OR_FREE_TOOLS)
        if isinstance(steps, list):
            others += sum(isinstance(step, dict) and step.get("type") != _OWN_STEP for step in steps)
        if others:
            self.put("server_side_requests", others)
