"""Batches in every state; the SDK uses them in ``test_claude``."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.plan import settle
from relay_trio.simulator.vendors.claude.batches import Batches
from relay_trio.simulator.vendors.claude.requests import Invalid

PLAN = settle(SimulatorSettings(), (), Random(0), draws_faults=False)
PARAMS = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
CREATE: dict[str, Any] = {"requests": [{"custom_id": "a", "params": PARAMS}]}


def test_a_batch_in_progress_can_be_cancelled_and_has_no_results() -> None:
    batches = Batches(3600)
    batch = batches.create(CREATE)
    assert (batch["processing_status"], batch["request_counts"]["processing"]) == ("in_progress", 1)
    assert batches.cancel(batch["id"])["processing_status"] == "canceling"
    for refused in (lambda: batches.results(batch["id"], PLAN), lambda: batches.delete(batch["id"])):
        with pytest.raises(Invalid):
            refused()


def test_an_ended_batch_has_a_result_for_each_request_and_can_be_deleted() -> None:
    batches = Batches(0)
    batch_id = batches.create(CREATE)["id"]
    line = json.loads(batches.results(batch_id, PLAN))
    assert (line["custom_id"], line["result"]["message"]["usage"]["output_tokens"]) == ("a", 4)
    assert batches.delete(batch_id)["type"] == "message_batch_deleted"
    with pytest.raises(Invalid, match="message batch"):
        batches.get(batch_id)


@pytest.mark.parametrize(
    "document", [None, {}, {"requests": []}, {"requests": [{}]}, {"requests": [{"custom_id": "a"}]}]
)
def test_what_is_no_batch_is_refused(document: dict[str, Any] | None) -> None:
    with pytest.raises(Invalid):
        Batches(0).create(document)
