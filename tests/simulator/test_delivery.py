"""Performing a script: the record says what left, wherever the performance was cut."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.http import ResponseHead
from relay_trio.simulator import ServedRequest, SimulatorSettings
from relay_trio.simulator.delivery import perform
from relay_trio.simulator.plan import settle
from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.claude.provider import Claude
from relay_trio.usage import UsageSource, UsageStats
from relay_trio.vendors.claude.provider import Claude as ClaudeMetering
from tests.explorer import Run, explore
from tests.support.vendor_calls import new_reader

if TYPE_CHECKING:
    from relay_trio.simulator.connection import Connection

BODY = (
    b'{"model": "m", "max_tokens": 50, "stream": true, "thinking": {"type": "adaptive"},'
    b' "messages": [{"role": "user", "content": "three words here"}]}'
)
HEADERS = [(b"x-api-key", b"k"), (b"anthropic-version", b"2023-06-01")]


class FakeConnection:
    """Takes ``room`` bytes of each send before it makes the sender wait."""

    def __init__(self, room: int = 10_000) -> None:
        self.bytes_sent = 0
        self.taken = b""
        self._room = room

    async def send(self, data: bytes) -> None:
        while data:
            self.taken += data[: self._room]
            self.bytes_sent += len(data[: self._room])
            data = data[self._room :]
            if data:
                await trio.lowlevel.checkpoint()

    def close(self) -> None:
        pass


def served() -> ServedRequest:
    return ServedRequest("req_1", "POST", b"/v1/messages", HEADERS, BODY, 0.0, 1)


async def perform_on(connection: FakeConnection, record: ServedRequest, spec: str) -> None:
    claude = Claude(SimulatorSettings(chunks=3))
    plan = settle(SimulatorSettings(chunks=3, thinking_chunks=2), [spec], Random(0), draws_faults=False)
    script = claude.answer(claude.read(Request("POST", b"/v1/messages", HEADERS, BODY, True)), plan, "req_1")
    for fault in plan.fault:
        fault.apply(script, plan.rng, claude)
    stage = cast("Connection", connection)
    await perform(script, plan, stage, record, lambda: None, has_body=True, is_last=False)


def folded(taken: bytes) -> UsageStats | None:
    """What the relay's own meter makes of the bytes that were taken; chunk framing is taken off."""
    _, _, rest = taken.partition(b"\r\n\r\n")
    if not rest:
        return None
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    incoming = CheckedRequest("claude.messages", "POST", b"/v1/messages", b"", [], BODY)
    meter = new_reader(ClaudeMetering(), ResponseHead(200, [(b"content-type", b"text/event-stream")]), incoming)
    meter.feed(body)
    usage = meter.finish()
    return None if usage.source is UsageSource.NONE else usage


@pytest.mark.parametrize(("room", "spec"), [(10_000, "pace=1"), (100, "pace=0"), (61, "pace=1,batch=1")])
def test_cancelled_anywhere_the_record_is_the_fold_of_the_bytes_taken(room: int, spec: str) -> None:
    """``ServedRequest.usage`` and the relay's own meter agree on every prefix."""

    async def scenario(run: Run) -> None:
        connection, record = FakeConnection(room), served()
        with run.target():
            await perform_on(connection, record, spec)
        usage, reported = folded(connection.taken), record.usage
        if usage is None:
            assert reported is None
        else:
            assert reported is not None
            assert (usage.input_tokens, usage.output_tokens) == (reported.input_tokens, reported.output_tokens)
            assert (usage.source is UsageSource.EXACT) == (reported.output_tokens == 5)
        assert (record.status == 200) == (b"\r\n\r\n" in connection.taken)
        assert not record.is_finished or b"message_stop" in connection.taken
        assert record.tokens_generated >= connection.taken.count(b"text_delta")

    explored = explore(scenario)
    assert explored.steps >= 5


@pytest.mark.parametrize(("spec", "seconds"), [("pace=2,delay=3", 13.0), ("pace=0", 0.0), ("pace=1,fault=drip:0", 5.0)])
async def test_the_pace_is_kept_on_the_clock(autojump_clock: Any, spec: str, seconds: float) -> None:
    record = served()
    started = trio.current_time()
    await perform_on(FakeConnection(), record, spec)
    assert trio.current_time() - started == pytest.approx(seconds)
    assert (record.tokens_generated, record.output_tokens, record.is_finished) == (5, 5, True)


async def test_jitter_moves_each_delta_and_not_the_rate(autojump_clock: Any) -> None:
    started = trio.current_time()
    await perform_on(FakeConnection(), served(), "pace=1,jitter=0.5,chunks=45")
    elapsed = trio.current_time() - started
    assert 40 < elapsed < 54
    assert elapsed != 47
