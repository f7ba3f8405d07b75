"""The simulated Bedrock refuses what it does not know in the service's own words."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.simulator.vendors.bedrock.capabilities import check_capabilities
from relay_trio.simulator.vendors.claude.requests import Invalid

SCOPED = {"type": "ephemeral", "scope": "global"}
TAG = "found using 'type' does not match any of the expected tags"


@pytest.mark.parametrize(
    ("document", "betas", "message"),
    [
        ({}, ["context-management-2025-06-27"], "invalid beta flag"),
        ({"context_management": {}}, [], "context_management: Extra inputs are not permitted"),
        ({"output_config": {}}, [], "output_config: Extra inputs are not permitted"),
        ({"tools": [{"name": "a", "strict": True}]}, [], "tools.0.custom.strict: Extra inputs are not permitted"),
        (
            {"system": [{"type": "text", "text": "", "cache_control": SCOPED}]},
            [],
            "system.0.text.cache_control.ephemeral.scope: Extra inputs are not permitted",
        ),
        ({"tools": [{"type": "advisor_1"}]}, [], f"tools.0: Input tag 'advisor_1' {TAG}"),
        (
            {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "tool_reference"}]}]}]},
            [],
            f"messages.0.content.0.tool_result.content.0: Input tag 'tool_reference' {TAG}",
        ),
    ],
)
def test_what_is_not_known_is_refused(document: dict[str, Any], betas: list[str], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_capabilities(document, betas)
    assert caught.value.message == message


def test_what_is_known_is_taken() -> None:
    cache = {"type": "ephemeral", "ttl": "1h"}
    document = {
        "max_tokens": 1,
        "system": "x",
        "thinking": {"type": "adaptive"},
        "tools": [{"name": "a", "input_schema": {}, "cache_control": cache}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": cache}]}],
    }
    check_capabilities(document, ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14"])
