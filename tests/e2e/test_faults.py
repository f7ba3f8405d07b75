"""Every way an upstream can fail, through the whole relay: who serves instead, what the client gets, what is booked.

``Moment`` of failing decides: before the first byte another account is tried; after it nobody is.
"""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.simulator import SimulatorSettings, open_simulator
from tests.support.accounts import ACCOUNT_KEYS, account
from tests.support.raw_client import ask, envelope_error, message, open_raw, request
from tests.support.scripted_upstream import chunked, open_scripted
from tests.support.socket_harness import open_harness, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from relay_trio.simulator import Simulator
    from tests.support.raw_client import RawAnswer
    from tests.support.socket_harness import SocketHarness

Sections = dict[str, dict[str, object]]

_NO_BREAKER: Sections = {"breaker": {"enabled": False}}


@asynccontextmanager
async def two_accounts(
    folder: Path, simulator: Simulator, **sections: dict[str, object]
) -> AsyncIterator[SocketHarness]:
    """``one`` is preferred, so the first attempt is always its. Cancelled here: destroys."""
    accounts = [
        account("one", simulator.base_url, priority=0),
        account("two", simulator.base_url, number=1, priority=1),
    ]
    async with open_harness(folder, accounts, **sections) as harness:
        yield harness


@asynccontextmanager
async def one_account(
    folder: Path, simulator: Simulator, **sections: dict[str, object]
) -> AsyncIterator[SocketHarness]:
    """Nobody to fail over to. Cancelled here: destroys."""
    async with open_harness(folder, [account("one", simulator.base_url)], **sections) as harness:
        yield harness


def state(harness: SocketHarness, name: str) -> str:
    """What an operator sees of an account."""
    found = next(a for a in harness.relay.core.pool.accounts if a.name == name)
    return found.health.statistics(trio.current_time()).state.value


async def send(harness: SocketHarness, *, stream: bool = True, model: str = "claude-sim", **more: object) -> RawAnswer:
    """One request on a connection of its own. Cancelled here: destroys."""
    return await ask(harness.port, request(message(model, stream=stream, **more)))


# --- fail-over ----------------------------------------------------------------------------------------------------

BEFORE_THE_FIRST_BYTE = (
    "429",
    "429:30",
    "503",
    "529",
    "500",
    "502",
    "504",
    "401",
    "402",
    "403",
    "302",
    "html:502",
    "html:503",
    "big_error:500/200000",
    "close_before_head",
    "reset_before_head",
    "close_after_head",
    "reset_after_head",
    "junk",
    "bad_header",
    "gzip",
    "huge_headers:200000",
    "many_headers:400",
    "continues:50",
)


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_before_the_first_byte_the_other_account_serves(
    is_stream: bool, simulator: Simulator, folder: Path
) -> None:
    """The client sees one good answer; the row says that it took two attempts, and has the second one's tokens."""
    for number, fault in enumerate(BEFORE_THE_FIRST_BYTE):
        place = folder / str(number)
        place.mkdir()
        simulator.plan_account(ACCOUNT_KEYS[0], f"fault={fault}")
        simulator.truth.clear()
        async with two_accounts(place, simulator) as harness:
            answer = await send(harness, stream=is_stream)
            assert (fault, answer.status, answer.is_whole) == (fault, 200, True)
            assert answer.header(b"x-relay-attempts") == b"2"
            row = await harness.row()
            assert (fault, row["attempts"], row["account"], row["code"]) == (fault, 2, "two", "--")
            served = simulator.truth.records
            assert [record.credential for record in served] == list(ACCOUNT_KEYS)
            assert row["upstream_request_id"] == served[1].request_id
            assert (row["input_tokens"], row["output_tokens"]) == (served[1].input_tokens, served[1].output_tokens)
            assert b"simulated" not in answer.body


async def test_a_refused_connect_moves_on_to_the_other_account(simulator: Simulator, folder: Path) -> None:
    """Nothing listens there."""
    accounts = [
        account("one", f"http://127.0.0.1:{_free_port()}"),
        account("two", simulator.base_url, number=1, priority=1),
    ]
    async with open_harness(folder, accounts) as harness:
        assert (await send(harness)).status == 200
        row = await harness.row()
        assert (row["attempts"], row["account"], row["outcome"]) == (2, "two", "completed")


async def test_a_cooled_account_is_left_alone_until_its_time(simulator: Simulator, folder: Path) -> None:
    """``retry-after: 1``: for that second nothing goes there; then it is used again."""
    async with two_accounts(folder, simulator) as harness:
        simulator.plan_next("fault=429:1")
        cooled_at = trio.current_time()
        assert (await send(harness)).status == 200
        assert state(harness, "one") == "cooling"
        for _ in range(5):
            await send(harness)
        assert [r.credential for r in simulator.truth.records].count(ACCOUNT_KEYS[0]) == 1
        await trio.sleep_until(cooled_at + 1.2)
        assert state(harness, "one") == "ready"
        await send(harness)
        assert simulator.truth.last.credential == ACCOUNT_KEYS[0]


@pytest.mark.parametrize(
    ("text", "is_cooling"),
    [
        ("30", True),
        ("date", True),
        ("past", False),
        ("junk", True),
        ("0", False),
        ("1000000000", True),
        ("-5", None),
        ("none", True),
    ],
)
async def test_every_form_of_retry_after_is_understood_or_replaced(
    text: str, is_cooling: bool | None, simulator: Simulator, folder: Path
) -> None:
    """Seconds, a date, a past date, nonsense, none, far too long: the account cools at most as long as configured."""
    async with two_accounts(folder, simulator) as harness:
        simulator.plan_next(f"fault=429:{text}")
        assert (await send(harness)).status == 200
        if is_cooling is not None:
            assert (state(harness, "one") == "cooling") is is_cooling
        health = harness.relay.core.pool.accounts[0].health.statistics(trio.current_time())
        assert health.available_in_seconds <= harness.relay.settings.breaker.retry_after_max_seconds


async def test_when_all_are_cooled_the_request_waits_its_turn_if_that_is_soon(
    simulator: Simulator, folder: Path
) -> None:
    """The cool-down ends within the queue's limit: the client waits and is served."""
    async with two_accounts(folder, simulator) as harness:
        simulator.plan_next("fault=429:1", "fault=429:1")
        first = await send(harness)
        assert (first.status, first.error["type"]) == (429, "rate_limit_error")
        assert first.header(b"retry-after") == b"1"
        began = trio.current_time()
        second = await send(harness)
        assert second.status == 200
        assert 0.5 < trio.current_time() - began < 3
        rows = await harness.rows()
        assert [(row["status"], row["code"], row["attempts"]) for row in rows] == [(429, "SH", 2), (200, "--", 1)]
        assert rows[1]["queue_ms"] > 500


async def test_when_all_are_cooled_for_long_the_client_is_told_so(simulator: Simulator, folder: Path) -> None:
    """Longer than the queue's limit: 529 at once, with the true wait, and word to SDKs not to sleep for it."""
    async with two_accounts(folder, simulator, queue={"queue_timeout_seconds": 2.0}) as harness:
        simulator.plan_next("fault=429:200", "fault=429:100")
        first = await send(harness)
        assert (first.status, first.header(b"retry-after")) == (429, b"100")
        began = trio.current_time()
        second = await send(harness)
        assert trio.current_time() - began < 1
        assert (second.status, second.error["type"]) == (529, "overloaded_error")
        assert 90 < int(second.header(b"retry-after") or b"0") <= 100
        assert second.header(b"x-should-retry") == b"false"
        row = await harness.row(second.request_id)
        assert (row["outcome"], row["code"], row["attempts"]) == ("rejected_capacity", "RQ", 0)


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit_error"), (500, "api_error"), (503, "api_error"), (529, "overloaded_error")]
)
async def test_when_nobody_is_left_the_client_gets_the_upstreams_own_error(
    status: int, kind: str, simulator: Simulator, folder: Path
) -> None:
    """Status, type and message are the last upstream's; the id is ours."""
    async with two_accounts(folder, simulator) as harness:
        simulator.plan_next(f"fault={status}", f"fault={status}")
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (status, kind)
        assert answer.error["message"] == f"simulated {status}"
        assert answer.is_whole
        row = await harness.row(answer.request_id)
        assert (row["status"], row["code"], row["attempts"]) == (status, "SH", 2)
        assert {record.request_id.encode() in answer.body for record in simulator.truth.records} == {False}


async def test_a_refused_credential_takes_the_account_out_and_its_text_stays_inside(
    simulator: Simulator, folder: Path
) -> None:
    """401: never used again; alone, the client sees a permission error of ours, then 529, and readiness says why."""
    async with two_accounts(folder, simulator) as harness:
        simulator.plan_next("fault=401")
        assert (await send(harness)).status == 200
        assert state(harness, "one") == "auth_failed"
        for _ in range(4):
            assert (await send(harness)).status == 200
        assert [r.credential for r in simulator.truth.records].count(ACCOUNT_KEYS[0]) == 1
        simulator.plan_next("fault=401")
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (403, "permission_error")
        assert b"simulated" not in answer.body
        assert (await harness.row(answer.request_id))["outcome"] == "upstream_error"
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (529, "overloaded_error")
        ready = await ask(harness.port, request(method="GET", target="/readyz", key=None))
        assert (ready.status, json.loads(ready.body)["reason"]) == (503, "no_usable_account")


@pytest.mark.parametrize("fault", ["402", "403", "301", "302", "307", "304"])
async def test_a_refusal_that_is_not_the_clients_business_is_told_in_our_words(
    fault: str, simulator: Simulator, folder: Path
) -> None:
    """Alone: a permission error, or 502, without the upstream's text or its location; nothing is followed."""
    async with one_account(folder, simulator) as harness:
        simulator.plan_next(f"fault={fault}")
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (
            (403, "permission_error") if fault.startswith("4") else (502, "api_error")
        )
        assert answer.header(b"location") is None
        assert b"simulated" not in answer.body
        row = await harness.row()
        assert (row["outcome"], row["code"], row["attempts"]) == ("upstream_error", "SH", 1)
        assert len(simulator.truth.records) == 1


@pytest.mark.parametrize("status", [400, 405, 409, 413, 422])
async def test_the_requests_own_fault_is_passed_on_and_nobody_else_is_asked(
    status: int, simulator: Simulator, folder: Path
) -> None:
    """The upstream's error with our id; the account's health is untouched however often it happens."""
    async with two_accounts(folder, simulator) as harness:
        for _ in range(7):
            answer = await send(harness, model=f"claude-sim:fault={status}")
            assert (answer.status, answer.error["message"]) == (status, f"simulated {status}")
            row = await harness.row(answer.request_id)
            assert (row["outcome"], row["code"], row["attempts"]) == ("rejected_request", "SH", 1)
        assert state(harness, "one") == "ready"
        assert harness.relay.core.pool.accounts[0].health.statistics(0.0).strikes == 0


async def test_a_404_is_passed_on_when_the_other_account_says_the_same(simulator: Simulator, folder: Path) -> None:
    """A model that one account lacks may be another's, and no account is blamed for a name that a client made up."""
    async with two_accounts(folder, simulator) as harness:
        for _ in range(7):
            answer = await send(harness, model="claude-sim:fault=404")
            assert (answer.status, answer.error["message"]) == (404, "simulated 404")
            row = await harness.row(answer.request_id)
            assert (row["outcome"], row["code"], row["attempts"]) == ("rejected_request", "SH", 2)
        assert {state(harness, name) for name in ("one", "two")} == {"ready"}


@pytest.mark.parametrize("fault", ["html:400", "big_error:400/1000000", "html:404", "big_error:500/5000000"])
async def test_an_error_that_is_not_the_dialects_becomes_our_envelope(
    fault: str, simulator: Simulator, folder: Path
) -> None:
    """A proxy's HTML page, a megabyte of text: the status stays, the text does not."""
    async with one_account(folder, simulator) as harness:
        simulator.plan_next(f"fault={fault}")
        answer = await send(harness)
        assert answer.status == int(fault.partition(":")[2][:3])
        assert answer.error
        assert len(answer.body) < 1000
        assert b"html" not in answer.body


# --- how often ----------------------------------------------------------------------------------------------------


async def test_with_retry_off_one_account_is_asked(simulator: Simulator, folder: Path) -> None:
    """Whatever it answers."""
    async with two_accounts(folder, simulator, retry={"enabled": False}, **_NO_BREAKER) as harness:
        # The close comes first: on a reused connection it is a stale one, which is replaced within the attempt.
        for fault, status in (("close_before_head", 502), ("500", 500), ("529", 529), ("401", 403)):
            simulator.plan_next(f"fault={fault}")
            answer = await send(harness)
            assert (fault, answer.status, answer.header(b"x-relay-attempts") or b"1") == (fault, status, b"1")
    assert len(simulator.truth.records) == 4


@pytest.mark.parametrize("most", [1, 2, 3, 4])
async def test_no_more_accounts_are_tried_than_max_attempts(most: int, simulator: Simulator, folder: Path) -> None:
    """Six accounts that all fail: as many are tried, each once."""
    accounts = [account(f"a{number}", simulator.base_url, api_key=f"sk-{number}") for number in range(6)]
    async with open_harness(folder, accounts, retry={"max_attempts": most}) as harness:
        simulator.plan_next(*["fault=500"] * 6)
        answer = await send(harness)
        assert answer.status == 500
        assert (await harness.row())["attempts"] == most
    tried = [record.credential for record in simulator.truth.records]
    assert len(tried) == most == len(set(tried))


async def test_after_the_first_byte_nobody_else_is_tried(simulator: Simulator, folder: Path) -> None:
    """The client has seen one upstream's bytes; what follows is our error, never another's answer."""
    async with two_accounts(folder, simulator, **_NO_BREAKER) as harness:
        for fault in ("close_after_events:1", "reset_after_events:2", "end_after_events:3", "close_after:1000"):
            simulator.truth.clear()
            simulator.plan_next(f"fault={fault}")
            answer = await send(harness)
            assert (fault, answer.status, answer.is_whole) == (fault, 200, False)
            assert answer.body.count(b"event: message_start") <= 1
            assert answer.body.count(b"event: error") == 1
            row = await harness.row(answer.request_id)
            assert (fault, row["attempts"], row["code"]) == (fault, 1, "SD")
            assert len(simulator.truth.records) == 1


async def test_failures_in_a_row_take_the_account_out_but_never_the_last_one(
    simulator: Simulator, folder: Path
) -> None:
    """Five strikes eject ``one``; when ``two`` fails as well, both are still tried."""
    async with two_accounts(folder, simulator) as harness:
        simulator.plan_account(ACCOUNT_KEYS[0], "fault=500")
        for _ in range(5):
            assert (await send(harness)).status == 200
        assert state(harness, "one") == "cooling"
        simulator.truth.clear()
        assert (await send(harness)).status == 200
        assert [record.credential for record in simulator.truth.records] == [ACCOUNT_KEYS[1]]
        simulator.plan_account(ACCOUNT_KEYS[1], "fault=500")
        for _ in range(6):
            assert (await send(harness)).status == 500
        simulator.plan_account(ACCOUNT_KEYS[0], "")
        simulator.plan_account(ACCOUNT_KEYS[1], "")
        assert (await send(harness)).status == 200


# --- time limits --------------------------------------------------------------------------------------------------

_SHORT = 0.25


def _limits(**seconds: float) -> Sections:
    return {"timeouts": {f"{name}_timeout_seconds": value for name, value in seconds.items()}}


@pytest.mark.parametrize("fault", ["silent", "slow_head:0.1", "endless_continue", "stall_after:0"])
async def test_no_first_byte_in_time_is_a_timeout_of_its_own(fault: str, simulator: Simulator, folder: Path) -> None:
    """Silence, a head that drips, interim answers for ever, a head alone: 504 at the limit."""
    async with one_account(folder, simulator, **_limits(first_byte=_SHORT)) as harness:
        simulator.plan_next(f"fault={fault}")
        began = trio.current_time()
        answer = await send(harness)
        assert trio.current_time() - began < 4 * _SHORT
        assert (answer.status, answer.error["type"]) in ((504, "timeout_error"), (502, "api_error"))
        row = await harness.row()
        if answer.status == 504:
            assert (row["outcome"], row["code"]) == ("upstream_timeout", "sH")
        else:
            assert (fault, row["code"]) == ("endless_continue", "SH")  # too many of them, before the time was up
        with trio.fail_after(1):
            await simulator.wait_idle()


async def test_no_first_byte_in_time_moves_on_to_the_other_account(simulator: Simulator, folder: Path) -> None:
    """The time limit is an upstream's failure like another."""
    async with two_accounts(folder, simulator, **_limits(first_byte=_SHORT)) as harness:
        simulator.plan_next("fault=silent")
        assert (await send(harness)).status == 200
        assert (await harness.row())["attempts"] == 2


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_silence_midway_ends_the_stream_at_the_idle_limit(
    is_stream: bool, simulator: Simulator, folder: Path
) -> None:
    """The client gets what came and our timeout error; the upstream is closed; tokens so far are booked."""
    async with one_account(folder, simulator, **_limits(idle=_SHORT)) as harness:
        simulator.plan_next("fault=stall_after_events:4" if is_stream else "fault=stall_after:40")
        answer = await send(harness, stream=is_stream)
        assert (answer.status, answer.is_whole) == (200, False)
        row = await harness.row()
        assert (row["outcome"], row["code"]) == ("idle_timeout", "sD")
        if is_stream:
            assert _last_error(answer) == "timeout_error"
            assert row["usage_source"] == "partial"
            assert row["input_tokens"] == simulator.truth.last.input_tokens
        with trio.fail_after(1):
            await simulator.wait_idle()


async def test_an_answer_that_never_ends_is_cut_at_the_total_limit(simulator: Simulator, folder: Path) -> None:
    """Chunks keep the idle limit away, not the total one."""
    async with one_account(folder, simulator, **_limits(idle=_SHORT, total=0.5)) as harness:
        simulator.plan_next("chunks=5000,pace=0.02")
        began = trio.current_time()
        answer = await send(harness, max_tokens=9000)
        assert 0.45 < trio.current_time() - began < 1.5
        assert not answer.is_whole
        assert _last_error(answer) == "timeout_error"
        row = await harness.row()
        assert (row["outcome"], row["code"], row["usage_source"]) == ("upstream_timeout", "sD", "partial")


async def test_a_connect_that_hangs_is_a_timeout_in_the_connect_phase(folder: Path) -> None:
    """A listener whose queue is full answers no SYN."""
    with _full_listener() as port:
        async with open_harness(
            folder, [account("one", f"http://127.0.0.1:{port}")], **_limits(connect=_SHORT)
        ) as harness:
            answer = await send(harness)
            assert (answer.status, answer.error["type"]) == (504, "timeout_error")
            row = await harness.row()
            assert (row["outcome"], row["code"]) == ("upstream_timeout", "sC")


async def test_a_refused_connect_alone_is_booked_in_the_connect_phase(folder: Path) -> None:
    """502, SC."""
    async with open_harness(folder, [account("one", f"http://127.0.0.1:{_free_port()}")]) as harness:
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (502, "api_error")
        assert (await harness.row())["code"] == "SC"


async def test_no_slot_in_time_and_no_place_in_the_queue_are_told_apart_from_failures(
    simulator: Simulator, folder: Path
) -> None:
    """One slot, one place to wait: the second request waits in vain, the third is refused at once. Both 529, RQ."""
    accounts = [account("one", simulator.base_url, max_concurrency=1)]
    queue: Sections = {"queue": {"queue_timeout_seconds": 0.3, "max_waiting": 1}}
    answers: dict[str, tuple[RawAnswer, float]] = {}
    async with open_harness(folder, accounts, **queue) as harness:

        async def ask_as(name: str, spec: str) -> None:
            began = trio.current_time()
            answers[name] = (await send(harness, model=f"claude-sim:{spec}"), trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_as, "holds", "delay=0.8")
            await simulator.wait_served(1)
            nursery.start_soon(ask_as, "waits", "chunks=1")
            await until(lambda: harness.relay.core.admission.statistics().waiting == 1)
            await ask_as("refused", "chunks=1")
        assert answers["holds"][0].status == 200
        for name in ("waits", "refused"):
            answer, seconds = answers[name]
            assert (name, answer.status, answer.error["type"]) == (name, 529, "overloaded_error")
            assert (seconds < 0.2) is (name == "refused")
            row = await harness.row(answer.request_id)
            assert (row["outcome"], row["code"], row["attempts"]) == ("rejected_capacity", "RQ", 0)


async def test_a_waiter_is_served_when_the_slot_comes_back(simulator: Simulator, folder: Path) -> None:
    """First come, first served, one at a time: never more at the upstream than slots."""
    accounts = [account("one", simulator.base_url, max_concurrency=1)]
    async with open_harness(folder, accounts) as harness:
        numbers: list[int] = []
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(send_tagged, harness, number)
                await until(lambda: harness.relay.core.admission.statistics().entered == len(numbers) + 1)
                numbers.append(number)
        assert [record.tag for record in simulator.truth.records] == [str(number) for number in range(8)]
        spans = [(record.opened_at, record.closed_at) for record in simulator.truth.records]
        assert all(a[1] is not None and a[1] <= b[0] + 0.005 for a, b in itertools.pairwise(spans))


async def send_tagged(harness: SocketHarness, number: int) -> None:
    """A short stream that the simulator remembers by number. Cancelled here: destroys."""
    answer = await send(harness, model=f"claude-sim:delay=0.03,tag={number}")
    assert answer.status == 200


async def test_a_client_that_stops_reading_is_cut_at_the_write_limit(simulator: Simulator, folder: Path) -> None:
    """Reset, slot back, upstream closed; and while it lasted no more than the limit was held."""
    async with one_account(folder, simulator, **_limits(write=0.4)) as harness:
        simulator.plan_next("chunks=4000,chars=4000")
        async with open_raw(harness.port) as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await client.send(request(message(max_tokens=9000)))
            with trio.fail_after(5):
                await until(lambda: len(harness.relay.core.live) == 1)
                row = await harness.row()
            assert (row["outcome"], row["code"]) == ("client_timeout", "cD")
            with trio.fail_after(1):
                await simulator.wait_idle()
            client.reset()


# --- odd answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        "early_hints",
        "continues:5",
        "trailers",
        "http10",
        "connection_close",
        "resplit:1",
        "malformed",
        "huge_event:3",
        "odd_headers",
        "drip:0.0001",
    ],
)
async def test_odd_but_right_answers_are_served_whole(fault: str, simulator: Simulator, folder: Path) -> None:
    """Interim answers, trailers, HTTP/1.0, bytes one by one, events no parser likes: complete, and metered."""
    async with one_account(folder, simulator) as harness:
        for is_stream in (True, False) if fault != "malformed" else (True,):  # a document must be JSON
            simulator.plan_next(f"fault={fault},chunks=2")
            answer = await send(harness, stream=is_stream)
            assert (answer.status, answer.is_whole) == (200, True)
            row = await harness.row(answer.request_id)
            assert (row["code"], row["status"], row["attempts"]) == ("--", 200, 1)
            served = simulator.truth.last
            assert (row["usage_source"], row["output_tokens"]) == ("exact", served.output_tokens)
            assert row["input_tokens"] == served.input_tokens
        assert (await send(harness)).status == 200  # whatever became of the upstream's connection


async def test_cookies_and_the_upstreams_own_fields_go_neither_way(simulator: Simulator, folder: Path) -> None:
    """No cookie reaches a client, and none comes back to the upstream with the next client's request."""
    async with one_account(folder, simulator) as harness:
        simulator.plan_next("fault=odd_headers")
        answer = await send(harness)
        names = {name for name, _ in answer.headers}
        assert not names & {
            b"set-cookie",
            b"keep-alive",
            b"alt-svc",
            b"via",
            b"server",
            b"cf-ray",
            b"x-odd",
            b"x-empty",
            b"anthropic-organization-id",
        }
        served = simulator.truth.last
        assert served.request_id.encode() not in b"".join(value for _, value in answer.headers) + answer.body
        assert (await harness.row())["upstream_request_id"] == served.request_id
        assert state(harness, "one") == "ready", "a retry-after on a good answer is no limit"
        await send(harness)
        assert simulator.truth.last.header(b"cookie") is None


@pytest.mark.parametrize("fault", ["junk", "bad_header", "huge_headers:200000", "many_headers:400", "continues:50"])
async def test_what_is_not_http_is_a_bad_gateway(fault: str, simulator: Simulator, folder: Path) -> None:
    """502 in our words, no byte of it passed on."""
    async with one_account(folder, simulator) as harness:
        simulator.plan_next(f"fault={fault}")
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (502, "api_error")
        row = await harness.row()
        assert (row["outcome"], row["code"]) == ("upstream_error", "SH")
        assert (await send(harness)).status == 200


async def test_two_answers_to_one_request_poison_no_connection(simulator: Simulator, folder: Path) -> None:
    """What comes after the answer is thrown away with its connection: nobody else is served it."""
    async with one_account(folder, simulator) as harness:
        for _ in range(3):
            simulator.plan_next("fault=split")
            first = await send(harness, stream=False)
            assert first.body in (b"{}",) or first.status == 502
            second = await send(harness, stream=False)
            assert (second.status, json.loads(second.body)["type"]) == (200, "message")


@pytest.mark.parametrize("difference", [-100, 100])
async def test_a_wrong_content_length_is_a_cut_or_a_poisoned_connection_never_a_mix(
    difference: int, simulator: Simulator, folder: Path
) -> None:
    """Too long: cut. Too short: what is over goes nowhere."""
    async with one_account(folder, simulator, **_limits(idle=0.5)) as harness:
        simulator.plan_next(f"fault=wrong_length:{difference}")
        first = await send(harness, stream=False)
        row = await harness.row()
        if difference > 0:
            assert not first.is_whole
            assert row["code"] in ("SD", "sD")
        second = await send(harness, stream=False)
        assert (second.status, json.loads(second.body)["type"]) == (200, "message")


async def test_compression_that_nobody_asked_for_is_refused(simulator: Simulator, folder: Path) -> None:
    """And a bomb is not unfolded, asked for or not."""
    async with one_account(folder, simulator, **_NO_BREAKER) as harness:
        simulator.plan_next("fault=gzip")
        answer = await send(harness)
        assert (answer.status, answer.error["type"]) == (502, "api_error")
        assert (await harness.row())["code"] == "SH"
        simulator.plan_next("fault=gzip_bomb:100")
        began = time.process_time()
        answer = await ask(harness.port, request(message(stream=False), headers=("accept-encoding: gzip",)))
        assert answer.status == 200
        assert len(answer.body) < 1_000_000
        assert time.process_time() - began < 3
        assert (await harness.row(answer.request_id))["usage_source"] == "none"


async def test_a_compressed_stream_that_was_asked_for_is_metered_and_unchanged(folder: Path) -> None:
    """Cut at every few bytes of the compressed form; a cut end is a cut stream."""
    text = b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        for event in (
            {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        )
    )
    body = gzip.compress(text)
    headers = [("content-type", "text/event-stream"), ("content-encoding", "gzip")]
    compressible = request(message(), headers=("accept-encoding: gzip, deflate",))
    async with open_scripted() as upstream, open_harness(folder, [account("one", upstream.base_url)]) as harness:
        upstream.play = chunked([body[at : at + 3] for at in range(0, len(body), 3)], headers=headers)
        answer = await ask(harness.port, compressible)
        assert (answer.body, answer.is_whole) == (body, True)
        row = await harness.row(answer.request_id)
        assert (row["code"], row["usage_source"], row["total_tokens"]) == ("--", "exact", 12)

        begun = body[: len(body) * 4 // 5]
        upstream.play = chunked([begun], headers=headers)
        answer = await ask(harness.port, compressible)
        assert answer.body.startswith(begun)
        assert not answer.is_whole
        assert (await harness.row(answer.request_id))["code"] == "SD"


@pytest.mark.parametrize("kind", ["missing", "null", "negative", "huge", "string", "decreasing"])
async def test_nonsense_usage_is_never_booked_and_never_in_the_way(
    kind: str, simulator: Simulator, folder: Path
) -> None:
    """The answer is complete; tokens are what was said if it can be, and unknown if not."""
    async with one_account(folder, simulator) as harness:
        for is_stream in (True, False):
            simulator.plan_next(f"usage={kind}")
            answer = await send(harness, stream=is_stream)
            assert (answer.status, answer.is_whole) == (200, True)
            row = await harness.row(answer.request_id)
            assert row["outcome"] == "completed"
            assert 0 <= row["total_tokens"] < 10_000
            if kind in ("negative", "huge", "string"):
                assert row["usage_source"] == "none"


async def test_an_upstream_that_closes_idle_connections_costs_no_request(folder: Path) -> None:
    """A pooled connection that died is replaced without the client's knowing, and without a second row or strike."""
    async with open_simulator(SimulatorSettings(chunks=2, keep_alive_seconds=0.03)) as short:
        async with one_account(folder, short) as harness:
            for number in range(12):
                assert (await send(harness)).status == 200
                await trio.sleep(0.024 + 0.001 * number)  # around the moment at which it closes
            rows = await harness.rows()
            assert {(row["attempts"], row["outcome"]) for row in rows} == {(1, "completed")}
            assert len(short.truth.records) == len(rows) == 12
        assert short.truth.connections_accepted > 1


async def test_many_faults_at_once_leave_nothing_behind(simulator: Simulator, folder: Path) -> None:
    """Sixty requests, each with a fault of its own: one row each, every slot back, every upstream connection ended."""
    faults = [
        *BEFORE_THE_FIRST_BYTE,
        "stall_after_events:2",
        "close_after_events:2",
        "end_after_events:2",
        "silent",
        "none",
    ]
    limits = _limits(first_byte=1.0, idle=0.5, total=5.0)
    async with two_accounts(folder, simulator, **limits, **_NO_BREAKER) as harness:
        async with trio.open_nursery() as nursery:
            for number in range(60):
                fault = faults[number % len(faults)]
                nursery.start_soon(_send_and_expect_an_end, harness, f"claude-sim:fault={fault}")
        rows = await harness.rows()
        assert len(rows) == 60
        await harness.assert_at_rest()
        with trio.fail_after(2):
            await simulator.wait_idle()


async def _send_and_expect_an_end(harness: SocketHarness, model: str) -> None:
    answer = await send(harness, model=model)
    assert answer.is_whole or b"event: error" in answer.body


# --- what the tests share -----------------------------------------------------------------------------------------


def _last_error(answer: RawAnswer) -> str:
    last = [block for block in answer.body.split(b"\n\n") if block][-1]
    name, _, data = last.rpartition(b"\ndata: ")
    assert name.endswith(b"event: error")
    kind: str = envelope_error(json.loads(data), answer.request_id)["type"]
    return kind


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@contextmanager
def _full_listener() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", port))
            time.sleep(0.05)
            yield port
        finally:
            for filler in fillers:
                filler.close()
