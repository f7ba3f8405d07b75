"""What an upstream may do with a request, as scripts over memory streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.support.memory_harness import DELTA, HEAD, LAST_CHUNK, START, STOP, STREAM, TEXT, chunk

if TYPE_CHECKING:
    from tests.support.memory_harness import UpstreamSide

MESSAGE = b'{"type":"message","content":[],"usage":{"input_tokens":10,"output_tokens":7}}'
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"later"},"request_id":"theirs"}'


async def streams(side: UpstreamSide) -> None:
    """A whole stream, event by event."""
    await side.request()
    await side.send(HEAD, *(chunk(event) for event in STREAM), LAST_CHUNK)


async def answers(side: UpstreamSide) -> None:
    """A whole message."""
    await side.request()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(MESSAGE)
    await side.send(head, MESSAGE[:20], MESSAGE[20:])


async def streams_slowly(side: UpstreamSide) -> None:
    """A whole stream with a second between events."""
    await side.request()
    await side.send(HEAD)
    for event in STREAM:
        await trio.sleep(1)
        await side.send(chunk(event))
    await side.send(LAST_CHUNK)


async def is_silent(side: UpstreamSide) -> None:
    """Takes the request and says nothing."""
    await side.request()
    await side.wait_closed()


async def stalls(side: UpstreamSide) -> None:
    """Stops in the middle of an event."""
    await side.request()
    await side.send(HEAD, chunk(START), chunk(TEXT[:20]))
    await side.wait_closed()


async def dies_before_the_head(side: UpstreamSide) -> None:
    await side.request()
    await side.send(HEAD[:20])
    raise trio.BrokenResourceError


async def dies_before_the_first_byte(side: UpstreamSide) -> None:
    await side.request()
    await side.send(HEAD)
    raise trio.BrokenResourceError


async def dies_midway(side: UpstreamSide) -> None:
    await side.request()
    await side.send(HEAD, chunk(START), chunk(TEXT[:20]))
    raise trio.BrokenResourceError


async def ends_without_its_last_event(side: UpstreamSide) -> None:
    await side.request()
    await side.send(HEAD, chunk(START), chunk(TEXT), chunk(DELTA), LAST_CHUNK)


async def reports_an_error_midway(side: UpstreamSide) -> None:
    await side.request()
    error = b"event: error\ndata: " + OVERLOADED + b"\n\n"
    await side.send(HEAD, chunk(START), chunk(error), LAST_CHUNK)


async def is_overloaded(side: UpstreamSide) -> None:
    await side.request()
    head = b"HTTP/1.1 529 Overloaded\r\ncontent-type: application/json\r\nretry-after: 3\r\ncontent-length: %d\r\n\r\n"
    await side.send(head % len(OVERLOADED), OVERLOADED)


async def first_account_is_overloaded(side: UpstreamSide) -> None:
    await (is_overloaded if side.number == 0 else streams)(side)


async def first_account_dies_before_the_head(side: UpstreamSide) -> None:
    await (dies_before_the_head if side.number == 0 else streams)(side)


async def floods(side: UpstreamSide) -> None:
    """More than any response channel holds, as fast as it is taken."""
    await side.request()
    await side.send(HEAD, chunk(START))
    for _ in range(8):
        await side.send(chunk(b": " + b"x" * 64_000 + b"\n\n"))
    await side.send(chunk(DELTA), chunk(STOP), LAST_CHUNK)
