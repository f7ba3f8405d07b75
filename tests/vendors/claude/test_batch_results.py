"""The results of a batch, metered line by line as they pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_trio.usage import NO_USAGE, UsageDetails, UsageSource, UsageStats
from relay_trio.vendors.claude.batch_results import BatchResults, batch_of
from tests.support.cuts import cuts


def succeeded(model: str, **usage: Any) -> bytes:
    message = {"model": model, "content": [{"type": "text", "text": 'say "usage"\n'}], "usage": usage}
    return json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}).encode()


LINES = [
    succeeded("m", input_tokens=10, output_tokens=7, service_tier="batch"),
    json.dumps({"custom_id": "b", "result": {"type": "errored", "error": {"type": "error"}}}).encode(),
    succeeded("m", input_tokens=300_000, output_tokens=7, server_tool_use={"web_search_requests": 2}),
    succeeded("n", input_tokens=1, output_tokens=1, cache_creation={"ephemeral_1h_input_tokens": 5}),
    json.dumps({"custom_id": "c", "result": {"type": "expired"}}).encode(),
    succeeded("m", input_tokens=11, output_tokens=3),
]


def test_the_lines_are_added_up_at_any_cut_and_models_and_price_steps_are_kept_apart() -> None:
    body = b"\n".join(LINES)
    for end in (b"", b"\n", b"\r\n\n"):
        for pieces in cuts(body + end, drawn=3):
            reader = BatchResults("msgbatch_1")
            assert [reader.feed(piece) for piece in pieces] == pieces
            usage = reader.finish()
            assert (usage.input_tokens, usage.output_tokens, usage.cache_creation_tokens) == (300_022, 18, 5)
            assert usage.source is UsageSource.EXACT
            assert usage.details == UsageDetails(5, web_searches=2, service_tier="batch", batch_id="msgbatch_1")
            assert reader.finish() == usage
    found = {(part.model, part.every_input): part.usage.input_tokens for part in usage.parts}
    assert found == {("m", 1000): 21, ("m", 300_000): 300_000, ("n", 1000): 1}
    assert {part.usage.details.service_tier for part in usage.parts} == {"batch"}


@pytest.mark.parametrize("broken", [b"{", b"[]", b'{"result": {"type": "succeeded"}}', succeeded("m", input_tokens=-1)])
def test_a_line_that_cannot_be_read_makes_the_usage_unknown(broken: bytes) -> None:
    for lines in ([broken, LINES[0]], [LINES[0], broken]):
        reader = BatchResults("msgbatch_1")
        reader.feed(b"\n".join(lines))
        assert reader.finish() == NO_USAGE


def test_a_batch_without_a_success_has_no_usage() -> None:
    reader = BatchResults("msgbatch_1")
    assert reader.finish() == NO_USAGE
    reader.feed(LINES[1] + b"\n" + LINES[4])
    assert reader.finish() == NO_USAGE == UsageStats()


def test_only_the_path_of_results_names_a_batch() -> None:
    assert batch_of(b"/v1/messages/batches/msgbatch_01A/results") == "msgbatch_01A"
    for path in (b"/v1/messages/batches/msgbatch_01A", b"/v1/messages/batches", b"/v1/messages/batches/a/b/results"):
        assert batch_of(path) is None
