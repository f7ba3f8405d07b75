"""A suggestion is made for what is close, and for nothing else."""

from __future__ import annotations

import pytest

from relay_trio.suggestion import did_you_mean


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("bedrok", "   did you mean bedrock?"),
        ("Bedrock", "   did you mean bedrock?"),
        ("zzz", ""),
        (["x"], ""),
        ("", ""),
    ],
)
def test_a_close_name_is_suggested_and_a_far_one_is_not(name: object, suggestion: str) -> None:
    assert did_you_mean(name, ["anthropic", "bedrock", "gemini"]) == suggestion
