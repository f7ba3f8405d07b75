"""What the demo asks for: every dialect, each answered by the simulator with the last words that are looked for."""

from __future__ import annotations

import json
import random

import trio

from relay_trio.cli.demo_clients import Sent, Way, Wire
from relay_trio.cli.demo_requests import draw_ask
from relay_trio.simulator import SimulatorSettings, open_simulator


def call_of(target: str) -> str:
    return target.rpartition("/")[2].partition(":")[2] or target.rpartition("/")[2]


def test_every_dialect_is_drawn_mostly_as_streams_and_alike_for_a_seed() -> None:
    drawn = [draw_ask(random.Random(number)) for number in range(400)]
    assert drawn == [draw_ask(random.Random(number)) for number in range(400)]
    assert {call_of(ask.target) for ask in drawn} == {
        *("messages", "invoke", "invoke-with-response-stream", "converse", "converse-stream"),
        *("generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"),
    }
    assert 0.75 < sum(bool(ask.last_words) for ask in drawn) / len(drawn) < 0.95
    for ask in drawn:
        assert isinstance(json.loads(ask.content), dict)


async def test_a_whole_answer_of_each_has_its_last_words_and_a_told_error_too() -> None:
    rng = random.Random(1)
    seen: set[str] = set()
    with trio.fail_after(20):
        async with open_simulator(SimulatorSettings(chunks=3)) as simulator:
            address = ("127.0.0.1", simulator.port)
            while len(seen) < 8:
                ask = draw_ask(rng)
                seen.add(call_of(ask.target))
                for spec in ("", *(("fault=error_event:2",) if ask.last_words else ())):
                    simulator.plan_next(spec)
                    wire, sent = await Wire.open(address), Sent("x")
                    await wire.send("x", ask)
                    await wire.receive(sent)
                    assert (sent.status, sent.is_whole, sent.has_last_word) == (200, True, True), (ask.target, spec)
                    wire.close(Way.FIN)


async def test_a_stream_that_ends_cleanly_without_them_is_told_from_a_whole_one() -> None:
    rng = random.Random(2)
    seen: set[str] = set()
    with trio.fail_after(20):
        async with open_simulator(SimulatorSettings(chunks=5)) as simulator:
            while len(seen) < 5:
                ask = draw_ask(rng)
                if not ask.last_words:
                    continue
                seen.add(call_of(ask.target))
                simulator.plan_next("fault=end_after_events:2")
                wire, sent = await Wire.open(("127.0.0.1", simulator.port)), Sent("x")
                await wire.send("x", ask)
                await wire.receive(sent)
                assert (sent.is_whole, sent.has_last_word) == (True, False), ask.target
                wire.close(Way.FIN)
