"""The response body: bytes as they come, then an end that is a good one, an error, or a cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from relay_trio.errors import UpstreamClosed
from relay_trio.relay.channel import ResponseChannel
from relay_trio.relay.chunks import StreamDone, StreamFailed
from relay_trio.usage import NO_USAGE
from relay_trio.web.asgi import StreamAborted
from relay_trio.web.client_body import ClientBody
from tests.explorer import Run, explore
from tests.support.client_requests import never_now

if TYPE_CHECKING:
    from trio.testing import MockClock

GONE = UpstreamClosed("gone")


async def sent(response: ResponseChannel) -> tuple[list[bytes], str]:
    """What a client is sent, and how it ends."""
    pieces = []
    try:
        async with ClientBody(response.receiver) as body:
            async for piece in body:
                pieces.append(piece)
                await trio.lowlevel.checkpoint()
    except StreamAborted:
        return pieces, "aborted"
    return pieces, "finished"


async def test_a_good_end_finishes_the_response() -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"a")
        sender.finish(StreamDone(NO_USAGE))
    assert await sent(response) == ([b"a"], "finished")


async def test_an_answer_without_a_byte_is_finished_too() -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.finish(StreamDone(NO_USAGE))
    assert await sent(response) == ([], "finished")


async def test_a_failure_with_last_words_says_them_once_and_is_aborted() -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"a")
        sender.fail(StreamFailed(GONE, b"event: error\n\n"))
    assert await sent(response) == ([b"a", b"event: error\n\n"], "aborted")


async def test_a_failure_without_words_is_aborted_in_silence() -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"a")
        sender.fail(StreamFailed(GONE))
    assert await sent(response) == ([b"a"], "aborted")


async def test_a_failure_that_the_upstream_told_itself_ends_as_the_upstream_ended() -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"event: error\n\n")
        sender.fail(StreamFailed(GONE, b"never sent", is_error_forwarded=True))
    assert await sent(response) == ([b"event: error\n\n"], "finished")


async def test_a_channel_that_ends_without_a_word_is_aborted() -> None:
    response = ResponseChannel(never_now)
    with response.sender as sender:
        sender.write(b"a")
    assert await sent(response) == ([b"a"], "aborted")


async def test_leaving_the_body_early_gives_up_what_is_waiting() -> None:
    response = ResponseChannel(never_now)
    response.sender.write(b"x" * 1000)
    async with ClientBody(response.receiver):
        pass
    assert response.held_bytes == 0
    with pytest.raises(trio.BrokenResourceError):
        response.sender.write(b"y")


async def test_a_body_that_is_never_entered_owes_nothing(autojump_clock: MockClock) -> None:
    """A cancel can fall between handler and body."""
    response = ResponseChannel(never_now)
    ClientBody(response.receiver)
    response.sender.write(b"x")
    assert response.held_bytes == 1


async def test_leaving_works_in_a_cancelled_task() -> None:
    response = ResponseChannel(never_now)
    response.sender.write(b"x")
    with trio.CancelScope() as scope:
        async with ClientBody(response.receiver):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert response.held_bytes == 0


def test_cancel_anywhere_in_the_next_piece_loses_nothing() -> None:
    """Safe to retry: all pieces, then the words, each once."""

    async def scenario(run: Run) -> None:
        response = ResponseChannel(never_now)
        body = ClientBody(response.receiver)
        pieces: list[bytes] = []

        async def pump() -> None:
            with response.sender as sender:
                for piece in (b"a", b"b", b"c"):
                    sender.write(piece)
                    await trio.lowlevel.checkpoint()
                sender.fail(StreamFailed(GONE, b"!"))

        async def drain() -> None:
            async for piece in body:
                pieces.append(piece)
                await trio.lowlevel.cancel_shielded_checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            with run.target():
                try:
                    await drain()
                except StreamAborted:
                    pieces.append(b".")
            if not pieces or pieces[-1] != b".":
                with pytest.raises(StreamAborted):
                    await drain()
                pieces.append(b".")
        assert b"".join(pieces) == b"abc!."

    explore(scenario, seeds=(0, 1))
