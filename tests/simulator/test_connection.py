"""One connection; what its ends mean for requests is in ``test_server``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.simulator import SimulatorSettings, open_simulator

from .conftest import connect, message

if TYPE_CHECKING:
    from relay_trio.simulator import Simulator

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_a_flood_of_pipelined_requests_ends_the_connection(simulator: Simulator) -> None:
    raw = await connect(simulator)
    async with raw.stream:
        await raw.request(message("fault=silent"))
        await simulator.wait_served(1)
        await raw.stream.send_all(GET * 100)
        await simulator.wait_disconnected()
        assert len(simulator.truth.records) == 1


async def test_garbage_after_a_request_lets_its_answer_finish(simulator: Simulator) -> None:
    raw = await connect(simulator)
    async with raw.stream:
        await raw.request(message("chunks=5,pace=0.01"))
        await raw.stream.send_all(b"\x00 garbage\r\n\r\n")
        answer = await raw.answer()
        assert answer.ended == "whole"
        assert await raw.stream.receive_some() == b""
    assert simulator.truth.last.is_finished


async def test_a_request_in_pieces_is_one_request(simulator: Simulator) -> None:
    raw = await connect(simulator)
    async with raw.stream:
        for byte in GET:
            await raw.stream.send_all(bytes([byte]))
        assert (await raw.answer()).status == 200
    assert len(simulator.truth.records) == 1


async def test_an_idle_connection_counts_as_open_until_its_peer_leaves() -> None:
    async with open_simulator(SimulatorSettings()) as simulator:
        raw = await connect(simulator)
        await simulator.wait_until(lambda: simulator.open_connections == 1)
        await raw.stream.aclose()
        await simulator.wait_disconnected()
