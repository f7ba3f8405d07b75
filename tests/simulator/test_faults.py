"""Each fault by its name, byte by byte on a raw socket."""

from __future__ import annotations

import gzip
import json
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.simulator import FAULT_NAMES, SpecError, Usage
from relay_trio.simulator.faults import parse_faults, parse_rates
from relay_trio.simulator.vendors.claude.events import MALFORMED
from relay_trio.wire.sse import EventBlocks, parse_block

from .conftest import connect, message

if TYPE_CHECKING:
    from relay_trio.simulator import Simulator

    from .conftest import Answer, SimulatorClient

TESTED: set[str] = set()


async def ask(client: SimulatorClient, fault: str, *, stream: bool = True, spec: str = "") -> Answer:
    TESTED.update(part.partition(":")[0] for part in fault.split("+"))
    return await client.ask(message(f"fault={fault},{spec}", stream=stream))


def events(body: bytes) -> list[str]:
    blocks = EventBlocks(max_block_bytes=10**9).feed(body)
    return [event.event for event in map(parse_block, blocks) if event is not None]


async def whole_body(client: SimulatorClient) -> bytes:
    return (await client.ask(message())).body


# --- statuses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 413, 418, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_status_keeps_the_connection_and_tells_the_error_type(
    client: SimulatorClient, simulator: Simulator, status: int, stream: bool
) -> None:
    answer = await ask(client, str(status), stream=stream)
    assert (answer.status, answer.ended) == (status, "whole")
    record = simulator.truth.last
    assert (record.status, record.usage, record.closed_by, record.fault) == (status, None, None, str(status))
    if status < 400:
        assert answer.header(b"location") == b"http://127.0.0.1:9/elsewhere"
    else:
        assert answer.json()["request_id"] == record.request_id


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429", b"1"),
        ("429:none", None),
        ("529", None),
        ("529:30", b"30"),
        ("503:1e9", b"1e9"),
        ("429:-5", b"-5"),
        ("429:junk", b"soon, or not at all"),
    ],
)
async def test_retry_after_is_sent_as_told(client: SimulatorClient, fault: str, expected: bytes | None) -> None:
    assert (await ask(client, fault)).header(b"retry-after") == expected


async def test_a_status_can_have_another_name_than_its_usual_one(client: SimulatorClient) -> None:
    answer = await ask(client, "429:7/overloaded_error")
    assert (answer.header(b"retry-after"), answer.json()["error"]["type"]) == (b"7", "overloaded_error")
    answer = await ask(client, "400:/billing_error")
    assert (answer.header(b"retry-after"), answer.json()["error"]["type"]) == (None, "billing_error")


async def test_retry_after_can_be_a_date(client: SimulatorClient) -> None:
    ahead = (await ask(client, "429:date")).header(b"retry-after") or b""
    behind = (await ask(client, "429:past")).header(b"retry-after") or b""
    assert 5 < parsedate_to_datetime(ahead.decode()).timestamp() - time.time() < 15
    assert parsedate_to_datetime(behind.decode()).timestamp() < time.time()


async def test_errors_that_are_not_the_dialects(client: SimulatorClient) -> None:
    answer = await ask(client, "html:502")
    assert (answer.status, answer.header(b"content-type")) == (502, b"text/html")
    answer = await ask(client, "big_error:500/3000000")
    assert (answer.status, len(answer.body)) == (500, 3_000_000)


# --- the course of the connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "status", "ended"),
    [
        ("close_before_head", 0, "fin"),
        ("reset_before_head", 0, "reset"),
        ("close_after_head", 200, "fin"),
        ("reset_after_head", 200, "reset"),
    ],
)
async def test_the_connection_ends_around_the_head(
    client: SimulatorClient, simulator: Simulator, fault: str, status: int, ended: str, stream: bool
) -> None:
    answer = await ask(client, fault, stream=stream)
    assert (answer.status, answer.ended, answer.body) == (status, ended, b"")
    await simulator.wait_disconnected()
    record = simulator.truth.last
    assert (record.status or 0, record.closed_by, record.is_finished) == (status, "simulator", False)
    assert record.sent_bytes == 0


@pytest.mark.parametrize("count", [0, 1, 100, 400, 1000, 1500])
@pytest.mark.parametrize(("name", "ended"), [("close_after", "fin"), ("reset_after", "reset"), ("end_after", "whole")])
async def test_the_body_is_cut_at_exactly_that_byte(
    simulator: Simulator, client: SimulatorClient, name: str, ended: str, count: int
) -> None:
    whole = await whole_body(client)
    answer = await ask(client, f"{name}:{count}")
    assert answer.ended == ended
    assert len(answer.body) == count < len(whole)
    assert events(answer.body) == events(whole)[: len(events(answer.body))]
    record = simulator.truth.last
    expected = Usage(6, 1, 0, 0) if b'"message_start"' in answer.body and b"\n\n" in answer.body else None
    assert (record.usage, record.is_finished) == (expected, False)


@pytest.mark.parametrize("count", [0, 1, 5, 10, 11, 99])
async def test_the_body_is_cut_after_whole_events(simulator: Simulator, client: SimulatorClient, count: int) -> None:
    whole = events(await whole_body(client))
    for name, ended in (("end", "whole"), ("close", "fin"), ("reset", "reset")):
        client = await connect(simulator)
        answer = await ask(client, f"{name}_after_events:{count}")
        assert answer.ended == ended
        assert events(answer.body) == whole[:count]
        record = simulator.truth.last
        assert record.is_finished == (count >= len(whole))
        assert record.output_tokens == (5 if count >= len(whole) - 1 else min(count, 1))
        await client.stream.aclose()


async def test_a_large_cut_is_exact_before_a_reset(simulator: Simulator, client: SimulatorClient) -> None:
    """The RST waits until the client's kernel has what was sent."""
    answer = await ask(client, "reset_after:3000000", spec="chunks=900,chars=9000")
    assert (len(answer.body), answer.ended) == (3_000_000, "reset")


@pytest.mark.parametrize("name", ["close_after", "end_after"])
async def test_json_is_cut_short_of_its_length_or_with_a_shorter_one(client: SimulatorClient, name: str) -> None:
    answer = await ask(client, f"{name}:50", stream=False)
    assert len(answer.body) == 50
    assert (answer.header(b"content-length") == b"50") == (answer.ended == "whole") == (name == "end_after")


@pytest.mark.parametrize("fault", ["silent", "stall", "stall_after:300", "stall_after_events:4"])
async def test_a_stall_keeps_the_socket_open_and_says_nothing(
    simulator: Simulator, client: SimulatorClient, fault: str
) -> None:
    TESTED.add(fault.partition(":")[0])
    await client.request(message(f"fault={fault}"))
    with trio.move_on_after(0.1):
        await client.answer()
    assert (simulator.live_requests, simulator.open_connections) == (1, 1)
    assert simulator.truth.last.closed_at is None


async def test_random_cuts_fall_in_different_places(simulator: Simulator) -> None:
    lengths = set()
    for name in ("close", "reset", "end") * 4:
        client = await connect(simulator)
        lengths.add(len((await ask(client, name)).body))
        await client.stream.aclose()
    assert len(lengths) > 3


# --- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drip:0", "resplit:1", "resplit:7", "slow_head:0", "http10", "trailers", "gzip"])
async def test_the_body_is_the_same_in_every_shape(simulator: Simulator, client: SimulatorClient, fault: str) -> None:
    whole = await whole_body(client)
    answer = await ask(client, fault)
    body = gzip.decompress(answer.body) if fault == "gzip" else answer.body
    after_start = b"event: content_block_start"
    assert body.partition(after_start)[2] == whole.partition(after_start)[2]
    assert (answer.header(b"content-encoding") == b"gzip") == (fault == "gzip")
    assert answer.ended == ("fin" if fault == "http10" else "whole")
    assert simulator.truth.last.usage == Usage(6, 5, 0, 0)
    assert simulator.truth.last.is_finished


async def test_gzip_of_a_json_answer(client: SimulatorClient) -> None:
    answer = await ask(client, "gzip", stream=False)
    assert json.loads(gzip.decompress(answer.body))["usage"]["output_tokens"] == 5


async def test_a_bomb_is_small_on_the_wire(client: SimulatorClient) -> None:
    answer = await ask(client, "gzip_bomb:20", stream=False)
    assert len(answer.body) < 200_000
    assert len(gzip.decompress(answer.body)) == 20_000_000


@pytest.mark.parametrize("kind", ["", *MALFORMED])
async def test_malformed_events_stand_between_good_ones(client: SimulatorClient, kind: str) -> None:
    answer = await ask(client, f"malformed:{kind}" if kind else "malformed")
    assert answer.ended == "whole"
    assert (MALFORMED[kind] if kind else b"".join(MALFORMED.values())) in answer.body
    assert answer.body.endswith(b'"message_stop"             }\n\n')


async def test_a_huge_event_is_one_valid_event(client: SimulatorClient) -> None:
    answer = await ask(client, "huge_event:3")
    assert max(map(len, answer.body.split(b"\n"))) > 3_000_000
    assert events(answer.body)[-1] == "message_stop"


async def test_an_error_event_ends_the_stream_without_a_message_stop(
    simulator: Simulator, client: SimulatorClient
) -> None:
    assert events((await ask(client, "error_event:4")).body)[-1] == "error"
    answer = await ask(client, "error_event:4/rate_limit_error")
    assert b'"type":"rate_limit_error"' in answer.body
    assert (len(events(answer.body)), simulator.truth.last.is_finished) == (5, False)


# --- heads --------------------------------------------------------------------------------------------------------


async def test_interim_answers_come_before_the_answer(client: SimulatorClient) -> None:
    assert (await ask(client, "early_hints")).raw.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert (await ask(client, "continues:9")).raw.count(b"100 Continue") == 9


async def test_interim_answers_can_come_for_ever(client: SimulatorClient, simulator: Simulator) -> None:
    TESTED.add("endless_continue")
    await client.request(message("fault=endless_continue"))
    with trio.move_on_after(0.1) as scope:
        await client.answer()
    assert scope.cancelled_caught
    assert simulator.truth.last.status is None


async def test_heads_can_be_too_large_or_odd(client: SimulatorClient, simulator: Simulator) -> None:
    assert len((await ask(client, "huge_headers:50000")).header(b"x-padding") or b"") == 50000
    assert len((await ask(client, "many_headers:300")).headers) > 300
    answer = await ask(client, "odd_headers")
    assert [name for name, _ in answer.headers].count(b"set-cookie") == 2
    assert (answer.status, answer.header(b"retry-after"), answer.ended) == (200, b"17", "whole")
    assert (await ask(client, "connection_close")).header(b"connection") == b"close"
    await simulator.wait_disconnected()


@pytest.mark.parametrize("fault", ["junk", "bad_header"])
async def test_a_parser_refuses_what_is_not_http(client: SimulatorClient, fault: str) -> None:
    assert (await ask(client, fault)).ended == "junk"


async def test_two_answers_to_one_request(client: SimulatorClient) -> None:
    assert (await ask(client, "split")).raw.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("fault", "difference"), [("wrong_length", 100), ("wrong_length:-20", -20)])
async def test_a_length_can_be_wrong_both_ways(
    client: SimulatorClient, simulator: Simulator, stream: bool, fault: str, difference: int
) -> None:
    TESTED.add("wrong_length")
    await client.request(message(f"fault={fault}", stream=stream))
    head = await client.receive_until(b"\r\n\r\n")
    await simulator.wait_idle()
    assert b"content-length: %d\r\n" % (simulator.truth.last.sent_bytes + difference) in head


async def test_faults_are_applied_in_the_order_written(client: SimulatorClient) -> None:
    answer = await ask(client, "gzip+close_after:60+odd_headers+early_hints")
    assert (len(answer.body), answer.ended, answer.body[:2]) == (60, "fin", b"\x1f\x8b")
    assert answer.header(b"set-cookie")


# --- the grammar --------------------------------------------------------------------------------------------------


def test_rates_name_faults_with_their_arguments() -> None:
    rates = [(fault.label, rate) for fault, rate in parse_rates("429:0.02,reset_after:1000:0.01, stall:0.5")]
    assert rates == [("429", 0.02), ("reset_after:1000", 0.01), ("stall", 0.5)]


@pytest.mark.parametrize(
    "text",
    ["nothing", "200", "600", "stall_after", "stall_after:x", "silent:3", "drip:x", "gzip+what", "error_event:x"],
)
def test_what_is_no_fault_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(SpecError, match=r"expected|there is no|a status fault|add up|is not key=value"):
        parse_faults(text)


@pytest.mark.parametrize("text", ["429", "429:x", "429:2", "429:-1", "what:0.1"])
def test_what_is_no_rate_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(SpecError, match=r"expected|there is no|a status fault|add up|is not key=value"):
        parse_rates(text)


def test_every_fault_was_tried_above() -> None:
    """Holds when the whole file runs."""
    if len(TESTED) > 20:
        assert set(FAULT_NAMES) <= TESTED
