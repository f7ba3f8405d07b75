"""Both halves of a capability go to Bedrock or neither does, and all the rest is the text that it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_trio.simulator.vendors.bedrock.capabilities import check_capabilities
from relay_trio.simulator.vendors.claude.requests import Invalid
from relay_trio.vendors.translations.bridge import Bridge
from relay_trio.wire.json_text import member_texts

CACHE = {"type": "ephemeral", "ttl": "1h", "scope": "global"}
KEPT_CACHE = {"type": "ephemeral", "ttl": "1h"}
INPUT = {"cache_control": {"scope": "mine"}, "strict": 1.10, "defer_loading": [{"type": "tool_reference"}]}
"""What a model wrote: no part of it is the relay's to read."""

SENT: dict[str, Any] = {
    "max_tokens": 9,
    "system": [{"type": "text", "text": "x", "cache_control": CACHE}, {"type": "text", "text": "y"}],
    "tools": [
        {"name": "a", "input_schema": {"strict": {"scope": 1}}, "strict": True, "defer_loading": True},
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        {"name": "b", "input_schema": {}, "cache_control": CACHE, "eager_input_streaming": True},
        {"type": "advisor_20260301", "name": "advisor"},
    ],
    "messages": [
        {"role": "user", "content": 'the word "scope"'},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "a", "input": INPUT}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [
                        {"type": "tool_reference", "tool_name": "b"},
                        {"type": "text", "text": "z", "cache_control": CACHE},
                    ],
                    "cache_control": CACHE,
                }
            ],
        },
    ],
    "context_management": {"edits": []},
    "output_config": {"effort": "high"},
    "speed": "fast",
    "brand_new": {"x": 1},
}
BETAS = [
    "claude-code-20250219", "interleaved-thinking-2025-05-14", "context-1m-2025-08-07", "effort-2025-11-24",
    "context-management-2025-06-27", "advanced-tool-use-2025-11-20", "prompt-caching-scope-2026-01-05",
    "extended-cache-ttl-2025-04-11", "oauth-2025-04-20", "never-seen-2027-01-01",
]  # fmt: skip


def bridged(sent: dict[str, Any], *passed: str, indent: int | None = None) -> tuple[dict[str, Any], Bridge]:
    bridge = Bridge(passed)
    texts = [bridge.member(name, text) for name, text in member_texts(json.dumps(sent, indent=indent))]
    return json.loads("{" + ",".join(text for text in texts if text is not None) + "}"), bridge


@pytest.mark.parametrize("indent", [None, 2])
def test_what_bedrock_does_not_know_stays_behind_and_is_named(indent: int | None) -> None:
    with pytest.raises(Invalid):
        check_capabilities(SENT, [])
    out, bridge = bridged(SENT, indent=indent)
    betas = bridge.betas(BETAS)
    check_capabilities(out, betas)
    assert betas == ["interleaved-thinking-2025-05-14", "context-1m-2025-08-07"]
    assert set(bridge.dropped) == {
        "client", "oauth", "context_management", "output_config", "tool_search", "fine_grained_streaming",
        "cache_scope", "one_hour_cache", "advisor", "fast_mode", "member:brand_new", "beta:never-seen-2027-01-01",
    }  # fmt: skip
    assert out == {
        "max_tokens": 9,
        "system": [{"type": "text", "text": "x", "cache_control": KEPT_CACHE}, {"type": "text", "text": "y"}],
        "tools": [
            {"name": "a", "input_schema": {"strict": {"scope": 1}}},
            {"name": "b", "input_schema": {}, "cache_control": KEPT_CACHE},
        ],
        "messages": [
            SENT["messages"][0],
            SENT["messages"][1],
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [
                            {"type": "text", "text": "b is available"},
                            {"type": "text", "text": "z", "cache_control": KEPT_CACHE},
                        ],
                        "cache_control": KEPT_CACHE,
                    }
                ],
            },
        ],
    }


def test_numbers_in_what_is_taken_apart_are_the_text_that_they_were() -> None:
    messages = (
        '"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"scope":"global"}}]},'
        '{"content":[{"type":"tool_use","input":{"n": 1e999, "m": 1.10}}]}]'
    )
    out = Bridge(()).member("messages", messages)
    assert out is not None
    assert out == messages.replace('{"scope":"global"}', "{}")


def test_what_needs_no_bridge_is_not_touched() -> None:
    plain = '"messages" : [ {"role":"user", "content":"hi"} ]'
    bridge = Bridge(())
    assert bridge.member("messages", plain) is plain
    assert bridge.dropped == ()


@pytest.mark.parametrize(
    ("passed", "beta", "member"),
    [
        ("context-management-2025-06-27", "context-management-2025-06-27", "context_management"),
        ("context_management", "context-management-2025-06-27", "context_management"),
        ("output_config", "effort-2025-11-24", "output_config"),
        ("never-seen-*", "never-seen-2027-01-01", "max_tokens"),
    ],
)
def test_a_configuration_passes_both_halves(passed: str, beta: str, member: str) -> None:
    out, bridge = bridged(SENT, passed)
    assert bridge.betas([beta]) == [beta]
    assert member in out


def test_a_member_that_is_new_everywhere_passes_by_configuration() -> None:
    assert bridged(SENT, "brand_new")[0]["brand_new"] == {"x": 1}


@pytest.mark.parametrize("odd", ["tools", "system", "messages"])
@pytest.mark.parametrize(
    "value", [1, "scope", {"a": "scope"}, ["scope", 1, None, ["scope"], {"content": 3, "s": "scope"}]]
)
def test_what_has_another_form_goes_as_it_came(odd: str, value: object) -> None:
    """The upstream says what is wrong with it."""
    text = json.dumps(value).replace("scope", '\\"scope\\"')
    out = Bridge(()).member(odd, f'"{odd}":{text}')
    assert out is not None
    assert json.loads("{" + out + "}") == {odd: json.loads(text)}


def test_a_name_that_no_header_can_hold_is_not_shown() -> None:
    bridge = Bridge(())
    assert bridge.member("a\nb", '"a\\nb":1') is None
    assert bridge.dropped == ("member",)
