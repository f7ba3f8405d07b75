"""Connections, their accounts, and what is seen when the client leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.demo.http_client import Way
from relay_trio.simulator import Simulator, SimulatorSettings, SpecError, open_simulator

from .conftest import KEY, connect, message

if TYPE_CHECKING:
    from .conftest import SimulatorClient

SEEN_WITHIN_SECONDS = 0.05
"""Generous: it is some hundred microseconds on an idle machine."""


@pytest.mark.parametrize(
    ("spec", "mark"),
    [
        ("chunks=900,pace=1", b"message_start"),
        ("fault=stall_after_events:4", b"content_block_delta"),
        ("delay=30", b""),
        ("fault=silent", b""),
        ("fault=endless_continue", b"100 Continue"),
        ("fault=slow_head:1", b"H"),
        ("chunks=900,batch=1,pace=0.001", b"content_block_delta"),
    ],
)
@pytest.mark.parametrize("way", list(Way))
async def test_the_peers_close_is_seen_at_once_while_it_waits(
    simulator: Simulator, spec: str, mark: bytes, way: Way
) -> None:
    """In every phase, and however the client leaves."""
    raw = await connect(simulator)
    await raw.request(message(spec))
    await simulator.wait_served(1)
    if mark:
        await raw.receive_until(mark)
    left_at = time.monotonic()
    raw.leave(way)
    await simulator.wait_idle()
    await simulator.wait_disconnected()
    record = simulator.truth.last
    assert record.client_closed_at is not None
    assert record.closed_at is not None
    assert record.client_closed_at - left_at < SEEN_WITHIN_SECONDS
    assert record.closed_at - record.client_closed_at < SEEN_WITHIN_SECONDS
    assert (record.closed_by, record.is_finished, simulator.open_connections) == ("client", False, 0)
    raw.close()


async def test_a_whole_answer_takes_the_time_of_its_tokens_and_counts_those_of_a_cut(simulator: Simulator) -> None:
    raw = await connect(simulator)
    await raw.request(message("chunks=100,pace=0.01,tokens=3", stream=False))
    await simulator.wait_served(1)
    await trio.sleep(0.1)
    raw.close()
    await simulator.wait_idle()
    record = simulator.truth.last
    assert record.usage is None
    assert record.status is None
    assert 6 <= record.tokens_generated <= 90
    assert record.tokens_generated % 3 == 0


async def test_a_peer_that_does_not_read_stops_the_stream_and_the_count(simulator: Simulator) -> None:
    raw = await connect(simulator)
    await raw.request(message("chunks=200000,chars=1000", max_tokens=10**9))
    await simulator.wait_served(1)
    with trio.move_on_after(0.3):
        await simulator.wait_idle()
    assert simulator.live_requests == 1
    generated = simulator.truth.last.tokens_generated
    assert generated < 50_000
    raw.close()
    await simulator.wait_idle()
    assert simulator.truth.last.closed_by == "client"
    assert simulator.truth.last.output_tokens == 1


async def test_a_connection_is_used_again_and_pipelined_requests_are_answered_in_order(
    simulator: Simulator, client: SimulatorClient
) -> None:
    for _ in range(3):
        assert (await client.ask(message())).ended == "whole"
    assert {record.connection_id for record in simulator.truth.records} == {1}
    assert {record.closed_by for record in simulator.truth.records} == {None}
    await client.request(message("tag=first"))
    await client.request(message("tag=second"))
    await client.receive_until(b"message_stop")
    await simulator.wait_until(lambda: len(simulator.truth.tagged("second")) == 1 and simulator.live_requests == 0)
    assert simulator.truth.records[-2].tag == "first"


async def test_refuse_and_accept_take_the_port_away_and_back(simulator: Simulator, client: SimulatorClient) -> None:
    simulator.refuse()
    simulator.refuse()
    with pytest.raises(OSError, match=r"all attempts to connect|Connection refused"):
        await connect(simulator)
    assert (await client.ask(message())).status == 200
    simulator.accept()
    simulator.accept()
    other = await connect(simulator)
    async with other.stream:
        assert (await other.ask(message())).status == 200


async def test_an_account_and_the_next_requests_can_be_planned(simulator: Simulator, client: SimulatorClient) -> None:
    simulator.plan_account(KEY, "fault=529")
    simulator.plan_next("fault=none", "", "chunks=2,fault=none")
    assert [(await client.ask(message())).status for _ in range(4)] == [200, 529, 200, 529]
    assert simulator.truth.records[2].output_tokens == 2
    simulator.plan_account(KEY, "")
    assert (await client.ask(message())).status == 200


async def test_specs_come_from_model_metadata_and_header_the_later_ones_win(
    simulator: Simulator, client: SimulatorClient
) -> None:
    user = {"user_id": "sim:chunks=3;pace=0"}
    await client.ask(message("chunks=2,tokens=5", metadata=user))
    assert simulator.truth.last.output_tokens == 15
    await client.ask(message("chunks=2,tokens=5", metadata=user), extra="x-sim: chunks=4\r\n")
    assert simulator.truth.last.output_tokens == 20
    await client.ask(message(metadata={"user_id": "somebody"}))
    assert simulator.truth.last.output_tokens == 5


async def test_an_idle_connection_is_closed_after_its_time_and_a_full_one_says_so() -> None:
    async with open_simulator(SimulatorSettings(keep_alive_seconds=0.05, requests_per_connection=2)) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            assert (await raw.ask(message())).header(b"connection") is None
            assert (await raw.ask(message())).header(b"connection") == b"close"
            assert await raw.stream.receive_some() == b""
        assert simulator.truth.last.closed_by == "simulator"
        raw = await connect(simulator)
        async with raw.stream:
            await raw.ask(message())
            assert await raw.stream.receive_some() == b""
        assert simulator.truth.last.closed_by is None
        await simulator.wait_disconnected()


async def test_a_body_above_the_limit_is_answered_before_it_was_read() -> None:
    async with open_simulator(SimulatorSettings(max_body_bytes=1000)) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            answer = await raw.ask(message(messages=[{"role": "user", "content": "x" * 5000}]))
            assert (answer.status, answer.header(b"connection")) == (413, b"close")
            assert answer.json()["error"]["type"] == "request_too_large"


async def test_what_is_not_http_is_refused_and_leaves_no_record(simulator: Simulator) -> None:
    raw = await connect(simulator)
    async with raw.stream:
        await raw.stream.send_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        assert (await raw.answer()).status == 400
    await simulator.wait_disconnected()
    assert simulator.truth.records == []


async def test_expect_continue_is_answered_before_the_body(simulator: Simulator) -> None:
    raw = await connect(simulator)
    async with raw.stream:
        await raw.stream.send_all(
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert await raw.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.stream.send_all(b"{}")
        assert (await raw.answer()).status == 401


async def test_leaving_the_block_closes_everything_in_the_middle_of_an_answer() -> None:
    async with open_simulator() as simulator:
        raw = await connect(simulator)
        await raw.request(message("fault=stall_after_events:3"))
        await raw.receive_until(b"ping")
    assert simulator.open_connections == simulator.live_requests == 0
    assert simulator.truth.last.closed_by == "simulator"
    assert (await raw.answer()).ended in {"fin", "reset", "junk"}
    raw.close()


async def test_default_fault_rates_are_drawn_from_the_seed() -> None:
    """The same seed gives the same faults; only requests that generate are hit."""

    async def run(seed: int) -> list[int]:
        async with open_simulator(SimulatorSettings(seed=seed, faults="429:0.3,529:0.2")) as simulator:
            raw = await connect(simulator)
            async with raw.stream:
                assert (await raw.ask(method="GET", target="/v1/models")).status == 200
                return [(await raw.ask(message("chunks=1"))).status for _ in range(60)]

    first = await run(7)
    assert first == await run(7) != await run(8)
    assert 5 < first.count(429) < 35
    assert 200 in first
    with pytest.raises(SpecError, match="more than 1"):
        async with open_simulator(SimulatorSettings(faults="429:0.6,529:0.6")):
            pass


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_simulator():
            raise KeyError("mine")
    with trio.move_on_after(0) as scope:
        async with open_simulator() as simulator:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert simulator.open_connections == 0


async def test_a_bad_spec_is_refused_where_it_is_given(simulator: Simulator, client: SimulatorClient) -> None:
    """Not as a 400 to each request that would have followed it."""
    with pytest.raises(SpecError, match='"429" is not key=value'):
        simulator.plan_account(KEY, "429")
    with pytest.raises(SpecError, match='no fault "earthquake"'):
        simulator.plan_next("chunks=2", "fault=earthquake")
    assert (await client.ask(message())).status == 200
    assert simulator.truth.last.output_tokens == 5


async def test_the_next_spec_is_not_for_a_request_to_the_simulator_itself(
    simulator: Simulator, client: SimulatorClient
) -> None:
    simulator.plan_next("chunks=2")
    assert (await client.ask(method="GET", target="/sim/truth")).status == 200
    await client.ask(message())
    assert simulator.truth.last.output_tokens == 2
