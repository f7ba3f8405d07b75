"""What the Messages API offers and another upstream may not know: the one table of it, as it was in November 2026.

A capability is a pair of a beta and something in the body. An upstream refuses a beta that it does not know ("invalid
beta flag"), and a member of the body that it does not know ("Extra inputs are not permitted"), so both halves go out or
neither does. What is in no row goes out nowhere, unless the account's ``pass_capabilities`` says so.

The rows follow what AWS documents for Bedrock, and what it was seen to refuse (claude-code#49370 and #56595,
sub2api#2726, CLIProxyAPI#4750). Where regions or models differ, the row says what all of them take.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Capability:
    """One row: ``betas`` are glob patterns of beta names; ``members`` names of the body's members; ``tool_members``
    names of members of one tool, ``tool_types`` patterns of whole tools. ``bedrock``: whether Bedrock knows it."""

    name: str
    betas: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    tool_members: tuple[str, ...] = ()
    tool_types: tuple[str, ...] = ()
    bedrock: bool = False

    def is_meant_by(self, pattern: str) -> bool:
        """Whether ``pattern``, of a configuration, is for this capability: by its name, a beta or a member."""
        return any(
            fnmatchcase(name, pattern) or fnmatchcase(pattern, name) for name in (self.name, *self.betas, *self.members)
        )


CACHE_SCOPE = "cache_scope"
"""The one capability whose half in the body is a member of every ``cache_control``, wherever that stands."""

TOOL_SEARCH = "tool_search"
"""The one with blocks of its own in messages: references to tools."""

CAPABILITIES: tuple[Capability, ...] = (
    Capability("long_context", betas=("context-1m-2025-08-07",), bedrock=True),
    Capability("interleaved_thinking", betas=("interleaved-thinking-2025-05-14",), bedrock=True),
    Capability("full_thinking", betas=("dev-full-thinking-2025-05-14",), bedrock=True),
    Capability("long_output", betas=("output-128k-2025-02-19",), bedrock=True),
    Capability(
        "computer_use",
        betas=("computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24"),
        bedrock=True,
    ),
    Capability("context_management", betas=("context-management-*", "compact-*"), members=("context_management",)),
    Capability(
        "output_config",
        betas=("effort-*", "structured-outputs-*", "task-budgets-*", "mid-conversation-output-config-*"),
        members=("output_config", "output_format"),
        tool_members=("strict",),
    ),
    Capability(
        TOOL_SEARCH,
        betas=("advanced-tool-use-*", "tool-search-tool-*", "tool-examples-*"),
        tool_members=("defer_loading", "input_examples", "allowed_callers"),
        tool_types=("tool_search_tool_*",),
    ),
    Capability(
        "fine_grained_streaming", betas=("fine-grained-tool-streaming-*",), tool_members=("eager_input_streaming",)
    ),
    Capability(CACHE_SCOPE, betas=("prompt-caching-scope-*",)),
    Capability("automatic_caching", members=("cache_control",)),
    Capability("one_hour_cache", betas=("extended-cache-ttl-*",)),  # ``cache_control.ttl`` alone is enough
    Capability("prompt_caching", betas=("prompt-caching-2024-07-31",)),  # always on
    Capability("safeguards", betas=("safeguards-*",), members=("safeguards",)),
    Capability("advisor", betas=("advisor-tool-*",), tool_types=("advisor_*",)),
    Capability("fast_mode", betas=("fast-mode-*",), members=("speed",)),
    Capability("mcp", betas=("mcp-client-*", "mcp-servers-*"), members=("mcp_servers",), tool_types=("mcp_toolset",)),
    Capability("container", betas=("code-execution-*", "skills-*", "files-api-*"), members=("container",)),
    Capability("service_tier", members=("service_tier",)),  # Bedrock's tiers are others, chosen by a header
    Capability("token_efficient_tools", betas=("token-efficient-tools-*",)),
    Capability("redacted_thinking", betas=("redact-thinking-*",)),
    Capability("client", betas=("claude-code-*",)),  # it names the client, and some models refuse it
    Capability("oauth", betas=("oauth-*",)),  # about credentials of Anthropic's own API
)

UNKNOWN_BETA = "beta"
UNKNOWN_MEMBER = "member"
"""What a row of the ledger has for what is in no row of the table."""

MEMBERS = frozenset({
    "anthropic_version", "anthropic_beta", "max_tokens", "messages", "metadata", "stop_sequences", "system",
    "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
})  # fmt: skip
"""The members of an invocation's body that Bedrock knows without a beta."""
