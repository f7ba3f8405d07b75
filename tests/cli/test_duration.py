"""Spans of time on the command line."""

from __future__ import annotations

import pytest

from relay_trio.cli.duration import duration_seconds


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)])
def test_a_duration_is_a_number_and_a_unit(written: str, seconds: int) -> None:
    assert duration_seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "24", "h", "-1h", "1.5h", "1w", "0s", "24 h", "२h", "9999999d", "24h\n"])
def test_anything_else_is_refused_with_examples(written: str) -> None:
    with pytest.raises(ValueError, match="24h or 7d"):
        duration_seconds(written)
