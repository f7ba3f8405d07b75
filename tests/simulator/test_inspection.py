"""The simulator's own routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conftest import KEY, connect, message

if TYPE_CHECKING:
    from relay_trio.simulator import Simulator

    from .conftest import SimulatorClient


async def test_the_truth_is_told_in_sums_without_credentials(simulator: Simulator, client: SimulatorClient) -> None:
    await client.ask(message("chunks=3"))
    await client.ask(message("fault=529"))
    other = await connect(simulator)
    await other.request(message("fault=stall_after_events:6,tag=gone"))
    await other.receive_until(b"slot")
    await other.stream.aclose()
    await simulator.wait_idle()
    answer = await client.ask(method="GET", target="/sim/truth")
    totals = answer.json()
    assert KEY.encode() not in answer.body
    assert (totals["requests"], totals["live_requests"], totals["finished"], totals["cut_by_client"]) == (
        3,
        0,
        2,
        1,
    )
    assert totals["statuses"] == {"200": 2, "529": 1}
    assert totals["usage"] == {
        "input_tokens": 12,
        "output_tokens": 4,
        "cache_creation_tokens": 0,
        "cache_read_tokens": 0,
        "total_tokens": 16,
    }
    assert totals["tokens_generated"] == 6
    assert [departure["tag"] for departure in totals["departures"]] == ["gone"]


async def test_the_truth_can_be_reset_from_outside(simulator: Simulator, client: SimulatorClient) -> None:
    await client.ask(message())
    assert (await client.ask(method="POST", target="/sim/reset")).status == 200
    assert simulator.truth.records == []
    assert (await client.ask(method="GET", target="/sim/nothing")).status == 404
