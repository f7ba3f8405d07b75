"""Reading and composing; the checks are in ``test_claude``, over the wire."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.plan import settle
from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.claude.requests import compose, read_call
from relay_trio.simulator.vendors.claude.tokens import InputTokens


def request(body: bytes, *headers: tuple[bytes, bytes]) -> Request:
    return Request("POST", b"/v1/messages", list(headers), body, True)


def test_credentials_of_both_client_generations_are_read() -> None:
    assert read_call(request(b"", (b"x-api-key", b"a"))).credential == "a"
    assert read_call(request(b"", (b"authorization", b"Bearer b"))).credential == "b"
    assert read_call(request(b"", (b"authorization", b"Bearer b"), (b"x-api-key", b"a"))).credential == "a"
    assert read_call(request(b"", (b"authorization", b"Basic b"))).credential is None
    assert read_call(request(b"")).credential is None


@given(st.one_of(st.binary(), st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps)))
def test_any_body_can_be_read(body: bytes | str) -> None:
    raw = body.encode() if isinstance(body, str) else body
    call = read_call(request(raw))
    assert call.document is None or isinstance(call.document, dict)


@given(
    limit=st.integers(1, 60),
    chunks=st.integers(0, 80),
    thinking=st.none() | st.integers(0, 80),
    tokens=st.integers(1, 7),
    is_tool=st.booleans(),
)
def test_the_deltas_stay_below_max_tokens_and_are_what_is_counted(
    limit: int, chunks: int, thinking: int | None, tokens: int, is_tool: bool
) -> None:
    document: dict[str, Any] = {"model": "m", "max_tokens": limit, "messages": []}
    if thinking is not None:
        document["thinking"] = {"type": "adaptive"}
    if is_tool:
        schema = {"properties": {"city": {"type": "string"}, "when": {"enum": ["now"]}, "n": {"type": ["null"]}}}
        document |= {"tools": [{"name": "t", "input_schema": schema}], "tool_choice": {"type": "any"}}
    spec = f"chunks={chunks},thinking={thinking or 0},tokens={tokens}"
    plan = settle(SimulatorSettings(), [spec], Random(0), draws_faults=False)
    made = compose(document, plan, InputTokens(1, 2, 3))
    assert 1 <= made.steps <= max(1, limit // tokens)
    assert made.end.output_tokens == made.steps * tokens
    assert made.thinking_tokens == made.thinking * tokens
    if is_tool:
        assert json.loads("".join(made.tool_pieces))["when"] == "now"
    assert (made.stop_reason == "tool_use") == is_tool
