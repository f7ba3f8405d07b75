"""The link between pump and body: bytes counted, ends explicit, nobody left waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.errors import UpstreamClosed
from relay_trio.relay.channel import CHANNEL_BYTES, PIECE_BYTES, ResponseChannel
from relay_trio.relay.chunks import StreamDone, StreamFailed
from relay_trio.usage import NO_USAGE
from tests.explorer import Run, Steps, explore
from tests.support.client_requests import never_now

if TYPE_CHECKING:
    from trio.testing import MockClock

GOOD_END = StreamDone(NO_USAGE)
BAD_END = StreamFailed(UpstreamClosed("the upstream closed the connection"))


# --- bytes --------------------------------------------------------------------------------------------------------


async def test_what_is_put_is_held_until_the_body_asks_for_more() -> None:
    """Taking bytes is not sending them: they leave the count when the body comes back."""
    response = ResponseChannel(never_now, 10)
    response.sender.write(b"abcd")
    response.sender.write(b"efg")
    assert response.held_bytes == 7
    assert await response.receiver.receive() == b"abcdefg"
    assert response.held_bytes == 7
    response.sender.write(b"h")
    assert await response.receiver.receive() == b"h"
    assert response.held_bytes == 1


async def test_one_chunk_may_exceed_the_limit_and_then_there_is_no_room() -> None:
    response = ResponseChannel(never_now, 10)
    response.sender.write(b"x" * 9)
    assert response.sender.has_room
    response.sender.write(b"x" * 500)
    assert not response.sender.has_room
    assert response.held_bytes == 509


async def test_a_full_channel_with_one_socket_read_on_top_is_256_kib() -> None:
    assert CHANNEL_BYTES + 64 * 1024 == 256 * 1024


async def test_what_waits_is_gathered_to_one_piece_and_the_rest_stays() -> None:
    """A slow client shows progress with each piece, so a piece is not the whole limit."""
    response = ResponseChannel(never_now)
    for _ in range(6):
        response.sender.write(b"x" * 30_000)
    first = await response.receiver.receive()
    assert isinstance(first, bytes)
    assert PIECE_BYTES <= len(first) < PIECE_BYTES + 30_000
    second = await response.receiver.receive()
    assert isinstance(second, bytes)
    assert response.held_bytes == 180_000 - len(first)


async def test_a_single_chunk_is_passed_on_without_a_copy() -> None:
    response = ResponseChannel(never_now)
    data = b"x" * 1000
    response.sender.write(data)
    assert await response.receiver.receive() is data


# --- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [GOOD_END, BAD_END], ids=["good", "bad"])
async def test_an_end_comes_after_all_bytes_and_again_whenever_it_is_asked_for(end: StreamDone | StreamFailed) -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"ab")
        if isinstance(end, StreamDone):
            sender.finish(end)
        else:
            sender.fail(end)
    assert await response.receiver.receive() == b"ab"
    assert await response.receiver.receive() is end
    assert await response.receiver.receive() is end
    assert response.held_bytes == 0


async def test_a_channel_that_closes_without_an_end_was_cut() -> None:
    """What came before the cut is still delivered; then there is no end, and the body must not look finished."""
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"ab")
    assert await response.receiver.receive() == b"ab"
    with pytest.raises(trio.EndOfChannel):
        await response.receiver.receive()


async def test_a_pump_that_crashes_cuts_the_channel(autojump_clock: MockClock) -> None:
    response = ResponseChannel(never_now)

    async def body() -> None:
        with pytest.raises(trio.EndOfChannel):
            await response.receiver.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(body)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ZeroDivisionError), response.sender:
            raise ZeroDivisionError


# --- waiting ------------------------------------------------------------------------------------------------------


async def test_progress_ends_when_the_body_asks_for_more_having_sent(autojump_clock: MockClock) -> None:
    response = ResponseChannel(never_now, 10)
    response.sender.write(b"x" * 10)
    moments = []

    async def pump() -> None:
        while not response.sender.has_room:
            await response.sender.progress()
        moments.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        start = trio.current_time()
        await response.receiver.receive()
        await trio.sleep(3)  # the client takes it
        response.sender.write(b"y")
        await response.receiver.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert moments == [start + 3]


async def test_it_is_flushed_only_when_the_body_asks_again(autojump_clock: MockClock) -> None:
    """Not when it took the last bytes: a client that leaves now has not got them."""
    response = ResponseChannel(never_now)
    response.sender.write(b"last")
    moments = []

    async def pump() -> None:
        while not response.sender.is_flushed:
            await response.sender.progress()
        moments.append(trio.current_time())
        response.sender.finish(GOOD_END)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        start = trio.current_time()
        assert not response.sender.is_flushed
        assert await response.receiver.receive() == b"last"
        assert not response.sender.is_flushed
        await trio.sleep(5)
        assert not moments
        assert await response.receiver.receive() is GOOD_END
        assert moments == [start + 5]


async def test_an_empty_answer_is_flushed_when_the_body_asks_the_first_time(autojump_clock: MockClock) -> None:
    response = ResponseChannel(never_now)
    assert not response.sender.is_flushed
    async with trio.open_nursery() as nursery:
        nursery.start_soon(response.receiver.receive)
        await response.sender.progress()
        assert response.sender.is_flushed
        response.sender.finish(GOOD_END)


async def test_bytes_put_while_the_body_asks_are_not_flushed_before_it_ran(autojump_clock: MockClock) -> None:
    """The body is already on its way to them, and still looks as if it were asking."""
    response = ResponseChannel(never_now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(response.receiver.receive)
        await response.sender.progress()
        response.sender.write(b"x")
        assert response.receiver.is_waiting
        assert not response.sender.is_flushed


async def test_a_body_that_gave_up_breaks_the_next_put(autojump_clock: MockClock) -> None:
    response = ResponseChannel(never_now)
    response.receiver.close()
    with pytest.raises(trio.BrokenResourceError):
        response.sender.write(b"x")
    assert response.held_bytes == 0


async def test_a_body_that_gives_up_wakes_a_pump_that_waits_for_room(autojump_clock: MockClock) -> None:
    """It learns there that the body is gone, and again if it puts all the same: no bytes stay counted."""
    response = ResponseChannel(never_now, 4)
    response.sender.write(b"x" * 4)

    async def pump() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await response.sender.progress()
        with pytest.raises(trio.BrokenResourceError):
            response.sender.write(b"y")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        await trio.testing.wait_all_tasks_blocked()
        response.receiver.close()
    assert response.held_bytes == 0


async def test_a_body_that_gives_up_breaks_a_pump_that_waits_for_the_flush(autojump_clock: MockClock) -> None:
    """Nobody will ask again: waiting for it until the stall limit helps nobody."""
    response = ResponseChannel(never_now)
    response.sender.write(b"last")

    async def pump() -> None:
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            while not response.sender.is_flushed:
                await response.sender.progress()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        await trio.testing.wait_all_tasks_blocked()
        response.receiver.close()


async def test_closing_twice_is_closing_once() -> None:
    response = ResponseChannel(never_now)
    response.receiver.close()
    response.receiver.close()


# --- cancellation -------------------------------------------------------------------------------------------------


def test_cancel_anywhere_in_receive_loses_nothing() -> None:
    """Safe to retry: whatever step the cancellation came at, all bytes and then the end come out, once and in order."""

    async def scenario(run: Run) -> None:
        response = ResponseChannel(never_now, 6)
        received: list[bytes] = []

        async def pump() -> None:
            with response.sender as sender:
                for piece in (b"abcd", b"efgh", b"ij", b"kl"):
                    while not sender.has_room:
                        await sender.progress()
                    sender.write(piece)
                    await trio.lowlevel.checkpoint()
                while not sender.is_flushed:
                    await sender.progress()
                sender.finish(GOOD_END)

        async def drain() -> None:
            while isinstance(chunk := await response.receiver.receive(), bytes):
                received.append(chunk)
                await trio.lowlevel.cancel_shielded_checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            with run.target():
                await drain()
            await drain()
        assert b"".join(received) == b"abcdefghijkl"
        assert response.held_bytes == 0

    explore(scenario, counted=(Steps.TARGET, Steps.RUN), seeds=(0, 1, 2))


def test_cancel_anywhere_in_progress_leaves_the_count_as_it_was() -> None:
    """Atomic: nothing was handed over, and the next one who waits is woken as ever."""

    async def scenario(run: Run) -> None:
        response = ResponseChannel(never_now, 4)
        response.sender.write(b"abcd")

        async def body() -> None:
            for _ in range(2):
                await response.receiver.receive()
            response.receiver.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(body)
            with run.target():
                while not response.sender.has_room:
                    await response.sender.progress()
            while not response.sender.has_room:
                await response.sender.progress()
            response.sender.write(b"e")
        assert response.held_bytes == 0

    explore(scenario, counted=(Steps.TARGET, Steps.RUN), seeds=(0, 1))


@given(st.lists(st.integers(1, 120_000), max_size=12), st.randoms(use_true_random=False))
def test_in_any_order_of_putting_and_taking_the_count_is_what_was_not_sent(sizes: list[int], draw: object) -> None:
    async def check() -> None:
        response, taken, put, waiting = ResponseChannel(never_now), 0, 0, list(sizes)
        unsent = 0
        while waiting or taken < put:
            if waiting and (put == taken or draw.random() < 0.5):  # type: ignore[attr-defined]
                response.sender.write(b"x" * waiting[0])
                put += waiting.pop(0)
            else:
                chunk = await response.receiver.receive()
                assert isinstance(chunk, bytes)
                taken += len(chunk)
                unsent = len(chunk)
            assert response.held_bytes == put - taken + unsent

    trio.run(check)


# --- the three ways of a chunk ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from([None, 0, 1, 20, 50]), st.booleans()), max_size=20))
def test_whatever_way_chunks_go_they_arrive_in_order_and_what_is_not_taken_is_held(
    steps: list[tuple[int, int | None, bool]],
) -> None:
    """Each step writes a chunk; the socket refuses it (None) or leaves so many of its bytes; the body runs, or not."""

    async def scenario() -> None:
        arrived = bytearray()
        written = bytearray()
        unsent = 0
        left: int | None = None

        def send_nowait(data: bytes) -> int | None:
            nonlocal unsent
            assert not unsent, "the socket is written to although it has not taken what was written before"
            if left is None:
                return None
            arrived.extend(data)
            unsent = min(left, len(data))
            return unsent

        response = ResponseChannel(send_nowait)

        async def body() -> None:
            nonlocal unsent
            while True:
                piece = await response.receiver.receive()
                if not isinstance(piece, bytes):
                    return
                arrived.extend(piece)  # as ``send``: it returns when the socket has all of it
                unsent = 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(body)
            await trio.testing.wait_all_tasks_blocked()
            for number, (size, leaves, body_runs) in enumerate(steps):
                left = leaves
                data = bytes([number]) * size
                response.sender.write(data)
                written.extend(data)
                assert response.held_bytes >= len(written) - len(arrived) + unsent
                if body_runs:
                    await trio.testing.wait_all_tasks_blocked()
                    assert response.sender.is_flushed
                    assert arrived == written
            response.sender.finish(GOOD_END)
        assert arrived == written

    trio.run(scenario)


# --- forwarding ---------------------------------------------------------------------------------------------------


class Socket:
    """A client's socket that takes ``takes`` bytes of each write, or is not to be written to (None)."""

    def __init__(self, takes: int | None) -> None:
        self.takes = takes
        self.written: list[bytes] = []

    def send_nowait(self, data: bytes) -> int | None:
        if self.takes is None:
            return None
        self.written.append(data)
        return max(0, len(data) - self.takes)


async def gather(response: ResponseChannel, seen: list[object]) -> None:
    """A body that sends what it receives without waiting."""
    while isinstance(item := await response.receiver.receive(), bytes):
        seen.append(item)
    seen.append(item)


async def test_what_the_body_waits_for_is_written_without_waking_it(autojump_clock: MockClock) -> None:
    line = Socket(100)
    response = ResponseChannel(line.send_nowait)
    seen: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gather, response, seen)
        await trio.testing.wait_all_tasks_blocked()
        for piece in (b"one", b"two"):
            response.sender.write(piece)
            assert (response.held_bytes, response.sender.is_flushed) == (0, True)
        response.sender.finish(GOOD_END)
    assert line.written == [b"one", b"two"]
    assert seen == [GOOD_END]


async def test_nothing_overtakes_what_the_body_has_not_sent(autojump_clock: MockClock) -> None:
    """Before the body waits, and after something went through the channel that it has not taken yet."""
    line = Socket(100)
    response = ResponseChannel(line.send_nowait)
    seen: list[object] = []
    response.sender.write(b"first")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gather, response, seen)
        await trio.testing.wait_all_tasks_blocked()
        line.takes = None
        response.sender.write(b"second")
        line.takes = 100
        response.sender.write(b"third")
        assert line.written == []
        await trio.testing.wait_all_tasks_blocked()
        response.sender.write(b"fourth")
        response.sender.finish(GOOD_END)
    assert seen == [b"first", b"secondthird", GOOD_END]
    assert line.written == [b"fourth"]


async def test_what_the_socket_did_not_take_is_held_until_the_body_has_waited_for_it(autojump_clock: MockClock) -> None:
    """The body is given an empty piece, whose sending waits for the client; until then nothing counts as flushed."""
    line = Socket(2)
    response = ResponseChannel(line.send_nowait)
    async with trio.open_nursery() as nursery:
        pieces: list[object] = []

        async def body() -> None:
            pieces.append(await response.receiver.receive())

        nursery.start_soon(body)
        await trio.testing.wait_all_tasks_blocked()
        response.sender.write(b"abcde")
        assert (response.held_bytes, response.sender.is_flushed) == (3, False)
        response.sender.write(b"fg")
        assert response.held_bytes == 5
        await trio.testing.wait_all_tasks_blocked()
        assert pieces == [b"fg"]
        assert (response.held_bytes, response.sender.is_flushed) == (5, False)
        nursery.start_soon(body)
        await trio.testing.wait_all_tasks_blocked()
        assert (response.held_bytes, response.sender.is_flushed) == (0, True)
        nursery.cancel_scope.cancel()
    assert line.written == [b"abcde"]


async def test_nothing_is_written_for_a_body_that_gave_up(autojump_clock: MockClock) -> None:
    line = Socket(100)
    response = ResponseChannel(line.send_nowait)
    response.receiver.close()
    with pytest.raises(trio.BrokenResourceError):
        response.sender.write(b"x")
    assert line.written == []
