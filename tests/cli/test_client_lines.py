"""The lines for a client are those of the dialects in which somebody serves its key."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relay_trio.cli.client_lines import client_lines
from relay_trio.config import Settings
from relay_trio.keys.client_key import ClientKey

CLAUDE = {"name": "claude", "provider": "anthropic", "api_key": "k", "max_concurrency": 1}
BEDROCK = {"name": "bedrock", "provider": "bedrock", "region": "eu-west-3", "max_concurrency": 1}
GEMINI = {"name": "gemini", "provider": "gemini", "api_key": "k", "max_concurrency": 1}
TRANSLATING = {**BEDROCK, "model_ids": {"claude-x": "anthropic.claude-x"}}


def variables(models: tuple[str, ...], *accounts: dict[str, Any]) -> list[str]:
    """The first of each line."""
    settings = Settings.model_validate({"account": list(accounts)})
    lines = client_lines("http://relay", ClientKey("k_1", "team", b"", "last", models), "rt_1", None, settings.account)
    return [found.removesuffix("_BASE_URL") for line in lines for found in re.findall(r"^export (\w+)=", line)]


@pytest.mark.parametrize(
    ("models", "dialects"),
    [
        ("gemini*", ["GOOGLE_GEMINI"]),
        ("gemini-2.5-pro", ["GOOGLE_GEMINI"]),
        ("claude-*", ["ANTHROPIC"]),
        ("claude-2.1", ["ANTHROPIC"]),
        ("*-pro", ["ANTHROPIC", "ANTHROPIC_BEDROCK", "AWS_REGION", "GOOGLE_GEMINI"]),
        ("*", ["ANTHROPIC", "ANTHROPIC_BEDROCK", "AWS_REGION", "GOOGLE_GEMINI"]),
        ("amazon.*", ["ANTHROPIC_BEDROCK", "AWS_REGION"]),
        ("eu.anthropic.*", ["ANTHROPIC", "ANTHROPIC_BEDROCK", "AWS_REGION"]),
        ("", []),
    ],
)
def test_with_an_account_of_each_vendor_the_key_decides(models: str, dialects: list[str]) -> None:
    """Nobody means ``gemini.x`` of Bedrock by ``gemini*``; Claude's clients reach Claude's models there."""
    assert variables((models,), CLAUDE, BEDROCK, GEMINI) == dialects


def test_each_of_the_keys_patterns_adds_its_own() -> None:
    assert variables(("gemini*", "*sonnet*"), CLAUDE, GEMINI) == ["ANTHROPIC", "GOOGLE_GEMINI"]


def test_the_accounts_decide_for_a_key_that_may_use_all() -> None:
    assert variables(("*",), CLAUDE) == ["ANTHROPIC"]
    assert variables(("*",), GEMINI) == ["GOOGLE_GEMINI"]
    assert variables(("claude-x",), TRANSLATING) == ["ANTHROPIC", "ANTHROPIC_BEDROCK", "AWS_REGION"]


def test_without_accounts_every_dialect_is_there() -> None:
    assert variables(("gemini*",)) == ["ANTHROPIC", "ANTHROPIC_BEDROCK", "GOOGLE_GEMINI"]
