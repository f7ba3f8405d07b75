"""One request's life, without sockets: what each end does to slot, upstream, row and client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.errors import ShuttingDown
from relay_trio.usage import UsageSource
from tests.support import scripts
from tests.support.memory_harness import STREAM, MemoryHarness, assert_no_defect, open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock


def outcome(harness: MemoryHarness) -> tuple[str, str]:
    (row,) = harness.rows
    assert row.outcome is not None
    return row.outcome.word.value, row.outcome.code


async def test_a_stream_passes_byte_for_byte_and_is_settled_as_completed(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 200
        assert client.body == b"".join(STREAM)
        assert client.is_finished
        assert outcome(harness) == ("completed", "--")
        (row,) = harness.rows
        assert (row.usage.input_tokens, row.usage.output_tokens, row.usage.source) == (10, 7, UsageSource.EXACT)
        assert (row.attempts, row.status, row.sent_bytes) == (1, 200, len(client.body))
        assert harness.upstream.statistics().idle_connections == 1


async def test_a_whole_message_follows_the_same_path(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.answers) as harness:
        client = await harness.serve(harness.request(stream=False, model="claude-opus-4-1"))
        assert client.body == scripts.MESSAGE
        assert outcome(harness) == ("completed", "--")
        assert harness.rows[0].usage.total_tokens == 17
        assert (harness.rows[0].cost_usd or 0) > 0


async def test_the_clients_disconnect_in_the_middle_closes_the_upstream_and_keeps_what_was_counted(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.streams_slowly) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        nursery.start_soon(client.run)
        await trio.sleep(2.5)
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        harness.assert_at_rest()
        assert harness.sides[0].is_closed_by_the_relay
        assert outcome(harness) == ("client_disconnect", "CD")
        assert harness.rows[0].usage.source is UsageSource.PARTIAL
        assert harness.rows[0].usage.input_tokens == 10
        assert harness.rows[0].cancelled_by == "client"
        harness.assert_healthy()


async def test_a_client_that_leaves_while_waiting_for_the_head_is_ch(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.is_silent) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        nursery.start_soon(client.run)
        await trio.sleep(5)
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        harness.assert_at_rest()
        assert outcome(harness) == ("client_disconnect", "CH")
        assert harness.rows[0].status == 499


async def test_a_client_that_leaves_the_queue_is_gone_from_it_at_once_and_the_next_one_is_served(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.streams_slowly) as harness, trio.open_nursery() as nursery:
        first, second, third = harness.request(), harness.request(), harness.request()
        for client in (first, second, third):
            nursery.start_soon(client.run)
            await trio.sleep(0.1)
        assert harness.core.admission.statistics().waiting == 2
        second.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert harness.core.admission.statistics().waiting == 1
        await trio.sleep(20)
        assert third.body == b"".join(STREAM)
        assert sorted(row.outcome.code for row in harness.rows if row.outcome) == ["--", "--", "CQ"]
        harness.assert_at_rest()


async def test_a_client_that_leaves_while_its_body_arrives_is_cr_and_took_no_slot(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness, trio.open_nursery() as nursery:
        client = harness.request(b'{"model":', is_whole=False)
        nursery.start_soon(client.run)
        await trio.testing.wait_all_tasks_blocked()
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        harness.assert_at_rest()
        assert outcome(harness) == ("client_disconnect", "CR")
        assert not harness.sides


async def test_a_client_that_stops_reading_frees_slot_and_upstream_at_the_limit(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.floods) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        client.reads = trio.Event()
        nursery.start_soon(client.run)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        await trio.sleep(29)
        assert harness.slots.total_in_use() == 1
        total, fullest = harness.core.live.held_bytes()
        assert total == fullest <= 256 * 1024
        await trio.sleep(2)
        harness.assert_at_rest()
        assert trio.current_time() - started == pytest.approx(31)
        assert outcome(harness) == ("client_timeout", "cD")
        client.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not client.is_finished


async def test_a_slow_client_that_keeps_reading_is_served(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.floods) as harness, trio.open_nursery() as nursery:
        client = harness.request()

        async def slow_send(message: dict[str, object]) -> None:
            await trio.sleep(20 if message.get("body") else 0)
            await client.stream.send(message)

        client._send = slow_send  # type: ignore[method-assign]
        nursery.start_soon(client.run)
        await trio.sleep(10_000)
        harness.assert_at_rest()
        assert outcome(harness) == ("completed", "--")
        client.leave()


async def test_a_client_that_leaves_in_the_last_flush_has_exact_usage(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        client.reads = trio.Event()
        nursery.start_soon(client.run)
        await trio.testing.wait_all_tasks_blocked()
        assert harness.slots.total_in_use() == 0
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        harness.assert_at_rest()
        assert outcome(harness) == ("client_disconnect", "CL")
        assert harness.rows[0].usage.source is UsageSource.EXACT


@pytest.mark.parametrize("script", [scripts.dies_midway, scripts.ends_without_its_last_event])
async def test_a_stream_that_dies_midway_says_so_and_is_never_ended(autojump_clock: MockClock, script: object) -> None:
    async with open_harness(script) as harness:  # type: ignore[arg-type]
        client = await harness.serve(harness.request())
        assert outcome(harness) == ("upstream_error", "SD")
        assert not client.is_finished
        assert client.body.endswith(b"\n\n")
        assert b"event: error\ndata: " in client.body
        answer = json.loads(client.body.rpartition(b"data: ")[2])
        assert answer["request_id"] == harness.rows[0].request_id
        assert harness.rows[0].usage.source is not UsageSource.NONE


async def test_an_error_event_of_the_upstream_is_passed_once_and_the_stream_ends_as_it_ended(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.reports_an_error_midway) as harness:
        client = await harness.serve(harness.request())
        assert client.body.count(b"event: error") == 1
        assert client.is_finished
        assert outcome(harness) == ("upstream_rate_limited", "SD")


async def test_an_upstream_that_dies_before_the_first_byte_is_replaced_by_the_next_account(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.first_account_dies_before_the_head, accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert client.body == b"".join(STREAM)
        assert (harness.rows[0].attempts, harness.rows[0].account) == (2, "b")
        assert outcome(harness) == ("completed", "--")


async def test_the_slot_of_a_failed_attempt_is_back_before_the_next_one(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.first_account_is_overloaded, accounts=2) as harness:
        await harness.serve(harness.request())
        assert harness.rows[0].attempts == 2
        assert harness.account("a").health.available_at() > trio.current_time()


async def test_exhausted_attempts_give_the_upstreams_own_status_and_error_with_our_request_id(
    autojump_clock: MockClock,
) -> None:
    async with open_harness(scripts.is_overloaded, accounts=2) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 529
        answer = json.loads(client.body)
        assert answer["error"] == {"type": "overloaded_error", "message": "later"}
        assert answer["request_id"] == harness.rows[0].request_id
        assert outcome(harness) == ("upstream_rate_limited", "SH")
        assert client.is_finished


async def test_with_retries_off_the_first_failure_is_the_answer(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.is_overloaded, accounts=2, retry={"enabled": False}) as harness:
        client = await harness.serve(harness.request())
        assert client.status == 529
        assert harness.rows[0].attempts == 1


@pytest.mark.parametrize(
    ("script", "timeouts", "expected", "status"),
    [
        (scripts.is_silent, {"first_byte_timeout_seconds": 7}, ("upstream_timeout", "sH"), 504),
        (scripts.stalls, {"idle_timeout_seconds": 7}, ("idle_timeout", "sD"), 200),
        (scripts.streams_slowly, {"total_timeout_seconds": 3}, ("upstream_timeout", "sD"), 200),
        (scripts.is_silent, {"total_timeout_seconds": 3}, ("upstream_timeout", "sH"), 504),
    ],
)
async def test_each_deadline_has_its_own_outcome(
    autojump_clock: MockClock, script: object, timeouts: dict[str, float], expected: tuple[str, str], status: int
) -> None:
    async with open_harness(script, timeouts=timeouts) as harness:  # type: ignore[arg-type]
        started = trio.current_time()
        client = await harness.serve(harness.request())
        seconds = next(iter(timeouts.values()))
        assert seconds <= trio.current_time() - started <= seconds * 1.02 + 0.01
        assert outcome(harness) == expected
        assert client.status == status
        assert client.is_finished is (status != 200)


async def test_a_full_pool_queues_until_the_queue_deadline_and_then_says_529(autojump_clock: MockClock) -> None:
    async with (
        open_harness(scripts.is_silent, queue={"queue_timeout_seconds": 4}) as harness,
        trio.open_nursery() as nursery,
    ):
        first = harness.request()
        nursery.start_soon(first.run)
        await trio.sleep(1)
        second = harness.request()
        await second.run()
        assert second.status == 529
        assert json.loads(second.body)["error"]["type"] == "overloaded_error"
        assert [row.outcome.code for row in harness.rows if row.outcome] == ["RQ"]
        first.leave()


async def test_a_stop_tells_running_streams_in_their_dialect_and_settles_them(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams_slowly) as harness, trio.open_nursery() as nursery:
        client = harness.request()
        nursery.start_soon(client.run)
        await trio.sleep(2.5)
        harness.core.live.stop()
        harness.core.live.end_all(ShuttingDown("the relay is shutting down"))
        await trio.testing.wait_all_tasks_blocked()
        harness.assert_at_rest()
        assert outcome(harness) == ("shutdown", "KD")
        assert b"shutting down" in client.body
        assert not client.is_finished
        refused = await harness.serve(harness.request())
        assert refused.status == 529


async def test_the_head_carries_ids_and_timing_and_only_listed_headers(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.streams) as harness:
        client = await harness.serve(harness.request(headers=[(b"x-request-id", b"mine-1")]))
        headers = dict(client.sent[0]["headers"])
        assert headers[b"x-request-id"] == b"mine-1"
        assert headers[b"request-id"].decode() == harness.rows[0].request_id
        assert headers[b"x-relay-attempts"] == b"1"
        assert b"ttfb;dur=" in headers[b"server-timing"]
        ids = {b"request-id", b"x-request-id"}
        streams = {b"content-type", b"cache-control", b"x-accel-buffering"}
        assert set(headers) == {*ids, *streams, b"x-relay-attempts", b"server-timing"}
        assert harness.rows[0].client_request_id == "mine-1"


async def test_nothing_is_internal_in_any_of_the_scripts(autojump_clock: MockClock) -> None:
    for script in (scripts.streams, scripts.dies_before_the_first_byte, scripts.is_overloaded, scripts.dies_midway):
        async with open_harness(script) as harness:
            await harness.serve(harness.request())
            assert_no_defect(harness)


async def test_a_stream_that_is_slower_than_its_client_is_written_by_the_pump_itself(autojump_clock: MockClock) -> None:
    """The same bytes, with and without a server that lets it."""
    async with open_harness(scripts.streams_slowly) as harness:
        clients = [harness.request(forwards=forwards) for forwards in (True, False)]
        for client in clients:
            await client.run()
            assert client.is_finished
        assert clients[0].body == clients[1].body
        assert clients[0].forwarded > 1
        assert clients[1].forwarded == 0
