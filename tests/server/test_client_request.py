"""A client's request as the server makes it: what its head says, and its body as it arrives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.outcome import DisconnectReason
from tests.explorer import Run, Steps, explore
from tests.support.client_requests import MemoryStream, make_request

if TYPE_CHECKING:
    from trio.testing import MockClock

    from relay_trio.server.client_request import ClientRequest


def delivered(*parts: bytes, is_whole: bool = False) -> tuple[MemoryStream, ClientRequest]:
    stream = MemoryStream()
    for part in parts:
        stream.deliver(part, is_last=False)
    if is_whole:
        stream.deliver(b"", is_last=True)
    return stream, make_request(stream=stream)


# --- the head -----------------------------------------------------------------------------------------------------


def test_every_request_gets_an_id_of_its_own() -> None:
    ids = {make_request().id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", request_id) for request_id in ids)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"trace-1.2_3", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"a b", False),
        (b"a\tb", False),
        (b'a"b', False),
        (b"a,b", False),
        (b"<script>", False),
        ("ä".encode(), False),
        (b"a\x00b", False),
    ],
)
def test_a_clients_id_is_kept_if_it_is_safe_to_write_anywhere(sent: bytes, kept: bool) -> None:
    """It comes back in a header and stands in the ledger and in logs."""
    request = make_request(headers=[(b"a", b"b"), (b"x-request-id", sent)])
    assert request.client_request_id == (sent.decode() if kept else "")


def test_without_an_id_of_the_client_there_is_none() -> None:
    assert make_request().client_request_id == ""


def test_the_path_is_decoded_and_what_goes_upstream_is_as_it_came() -> None:
    request = make_request(method="GET", raw_path=b"/a%20b%2Fc", query=b"q=%20", headers=[(b"host", b"h")])
    assert (request.path, request.raw_path, request.query) == ("/a b/c", b"/a%20b%2Fc", b"q=%20")
    assert (request.method, request.scheme, request.http_version) == ("GET", "http", "1.1")
    assert request.headers == [(b"host", b"h")]


# --- whether the client is there ----------------------------------------------------------------------------------


async def test_the_first_reason_for_a_loss_and_its_moment_stay(autojump_clock: MockClock) -> None:
    request = make_request()
    assert (request.disconnected_at, request.disconnect_reason) == (None, None)
    lost_at = trio.current_time()
    request.stream.lose(DisconnectReason.STALLED)
    await trio.sleep(1)
    request.stream.lose(DisconnectReason.LEFT)
    assert (request.disconnected_at, request.disconnect_reason) == (lost_at, DisconnectReason.STALLED)


# --- the body -----------------------------------------------------------------------------------------------------


async def test_what_arrives_is_read_in_order_and_then_its_end(autojump_clock: MockClock) -> None:
    stream, request = delivered(b"a", b"b")
    assert await request.receive_body_some() == b"ab"
    async with trio.open_nursery() as nursery:
        received: list[bytes] = []

        async def read() -> None:
            received.append(await request.receive_body_some())

        nursery.start_soon(read)
        await trio.sleep(1)
        assert not received
        assert not request.body_has_arrived
        stream.deliver(b"c", is_last=True)
    assert received == [b"c"]
    assert request.body_has_arrived
    assert await request.receive_body_some() == b""
    assert await request.receive_body_some() == b""


async def test_a_request_without_a_body_is_at_its_end_from_the_start() -> None:
    request = make_request(stream=MemoryStream(has_body=False))
    assert request.body_has_arrived
    assert await request.receive_body_some() == b""


async def test_an_empty_part_is_not_the_end(autojump_clock: MockClock) -> None:
    _, request = delivered(b"")
    with trio.move_on_after(1) as scope:
        await request.receive_body_some()
    assert scope.cancelled_caught


async def test_what_is_taken_makes_room_and_nothing_else_does(autojump_clock: MockClock) -> None:
    stream, request = delivered(b"x" * 10, b"y" * 5)
    assert (stream.body_bytes, stream.taken) == (15, [])
    await request.receive_body_some()
    assert (stream.body_bytes, stream.taken) == (0, [15])


async def test_a_client_that_waits_for_100_continue_is_asked_once_when_the_body_is_read() -> None:
    """And not before: a request that is refused by its head has no body to send."""
    stream = MemoryStream(expects_continue=True)
    request = make_request(stream=stream)
    assert stream.continues == 0
    with trio.move_on_after(0.01):
        await request.receive_body_some()
    assert stream.continues == 1
    stream.deliver(b"x", is_last=True)
    assert await request.receive_body_some() == b"x"
    assert stream.continues == 1


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_body_whose_client_is_lost_never_comes_to_an_end(autojump_clock: MockClock, is_whole: bool) -> None:
    """What is dropped with the client must not read as a short body."""
    stream, request = delivered(b"half", is_whole=is_whole)
    stream.lose(DisconnectReason.LEFT)
    with trio.move_on_after(1000) as scope:
        await request.receive_body_some()
    assert scope.cancelled_caught


def test_cancel_anywhere_while_the_body_is_read_loses_no_byte() -> None:
    async def scenario(run: Run) -> None:
        stream, request = delivered()
        received: list[bytes] = []

        async def connection() -> None:
            for part in (b"a", b"", b"bc", b"d"):
                await trio.sleep(1)
                stream.deliver(part, is_last=part == b"d")

        async def read() -> None:
            while part := await request.receive_body_some():
                received.append(part)
                await trio.lowlevel.cancel_shielded_checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection)
            with run.target():
                await read()
            await read()
        assert b"".join(received) == b"abcd"

    explore(scenario, counted=(Steps.TARGET, Steps.RUN))
