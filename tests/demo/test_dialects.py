"""The demo's requests at the simulated upstreams: each is understood, and an end is told from a clean cut."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.demo.clients import Sent, Way, Wire
from relay_trio.demo.dialects import DIALECTS, bedrock_converse, bedrock_invoke, claude, gemini_array, gemini_events
from relay_trio.simulator import SimulatorSettings, open_simulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.demo.dialects import Ask
    from relay_trio.simulator import ServedRequest

EVERY = (claude, bedrock_invoke, bedrock_converse, gemini_events, gemini_array)
SEED = 1
"""With which Claude's client asks for a stream, too."""

each_dialect = pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: dialect.__name__)


async def ask(dialect: Callable[[random.Random], Ask], spec: str = "") -> tuple[Sent, ServedRequest]:
    """What the client saw of one answer to ``dialect``, and what the upstream says of it."""
    sent = Sent("demo-0-0")
    with trio.fail_after(10):
        async with open_simulator(SimulatorSettings()) as simulator:
            simulator.plan_next(spec)
            wire = await Wire.open(("127.0.0.1", simulator.port))
            await wire.send(sent.request_id, dialect(random.Random(SEED)))
            await wire.receive(sent)
            wire.close(Way.FIN)
            return sent, simulator.truth.last


@each_dialect
async def test_a_whole_answer_has_its_last_word(dialect: Callable[[random.Random], Ask]) -> None:
    sent, served = await ask(dialect)
    assert (sent.status, sent.is_whole, sent.has_last_word) == (200, True, True)
    assert served.is_stream
    assert served.output_tokens >= 10


@each_dialect
async def test_an_error_that_was_told_is_a_last_word(dialect: Callable[[random.Random], Ask]) -> None:
    sent, _ = await ask(dialect, "fault=error_event:2")
    assert (sent.status, sent.is_whole, sent.has_last_word) == (200, True, True)


@each_dialect
async def test_a_stream_that_ends_too_early_is_found_though_http_is_content(
    dialect: Callable[[random.Random], Ask],
) -> None:
    sent, _ = await ask(dialect, "chunks=10,fault=end_after_events:7")
    assert (sent.status, sent.is_whole, sent.has_last_word) == (200, True, False)


def test_an_answer_that_is_no_stream_has_no_last_word() -> None:
    asks = [claude(random.Random(seed)) for seed in range(20)]
    whole = [asked for asked in asks if b'"stream": false' in asked.body]
    assert 0 < len(whole) < len(asks)
    assert all(asked.has_last_word(b"{}") for asked in whole)


def test_clients_in_turn_speak_every_dialect() -> None:
    assert set(DIALECTS) == set(EVERY)
    assert {dialect(random.Random(0)).target.split("/")[1] for dialect in DIALECTS[:3]} == {"v1", "model", "v1beta"}
