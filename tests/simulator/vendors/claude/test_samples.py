"""Claude's sample requests; what every vendor's must keep is in ``vendors/test_registry``."""

from __future__ import annotations

import json

from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.claude.samples import MODEL, messages


def test_only_a_stream_has_an_end_of_its_own() -> None:
    stream, whole = messages(Prompt("hi", 5, "k")), messages(Prompt("hi", 5, "k", is_stream=False))
    assert (json.loads(stream.body)["stream"], json.loads(whole.body)["stream"]) == (True, False)
    assert not stream.is_finished(b"event: ping")
    assert whole.is_finished(b"{}")


def test_the_model_carries_the_spec() -> None:
    body = json.loads(messages(Prompt("hi", 5, "k", spec="chunks=2")).body)
    assert body["model"] == f"{MODEL}:chunks=2"
