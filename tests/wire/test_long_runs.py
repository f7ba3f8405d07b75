"""Large events held small: what is left is the same JSON with shorter strings."""

from __future__ import annotations

import base64
import json
import time

from hypothesis import given
from hypothesis import strategies as st

from relay_trio.wire.long_runs import without_long_runs

PICTURE = base64.b64encode(bytes(range(256)) * 8).decode()


def test_of_an_image_the_beginning_is_left_and_of_the_rest_everything() -> None:
    event = {"candidates": [{"data": PICTURE, "finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 12}}
    expected = {**event, "candidates": [{"data": PICTURE[:8], "finishReason": "STOP"}]}
    assert json.loads(without_long_runs(json.dumps(event).encode())) == expected


def test_what_is_short_or_no_run_stays() -> None:
    prose = (b"Words and numbers, 1234567890, with spaces. " * 50) + b"x" * 63
    assert without_long_runs(prose) == prose


@given(
    st.lists(st.sampled_from([PICTURE, "a", '"', "\\", "\u00e9", " ", "\n", "u0041", "A" * 70])).map("".join),
    st.booleans(),
)
def test_what_is_left_is_json_with_the_same_members(text: str, ascii_only: bool) -> None:
    """An escape before a run keeps what belongs to it."""
    document = {"before": [1, 2.5e10, None], "text": text, "after": {"count": 12}}
    left = json.loads(without_long_runs(json.dumps(document, ensure_ascii=ascii_only).encode()))
    assert left | {"text": ""} == document | {"text": ""}
    assert len(left["text"]) <= len(text)


def test_runs_that_are_almost_long_take_no_more_than_their_length() -> None:
    for unit in (b"x" * 63 + b" ", b"word ", b"=" * 1_000_000):
        text = unit * (1_000_000 // len(unit))
        began = time.process_time()
        without_long_runs(text)
        assert time.process_time() - began < 0.5
