"""What an upstream may do with a request, as scripts over memory streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from tests.support.memory_harness import DELTA, HEAD, LAST_CHUNK, START, STOP, STREAM, TEXT, chunk

if TYPE_CHECKING:
    from tests.support.memory_harness import Script, UpstreamSide

MESSAGE = b'{"type":"message","content":[],"usage":{"input_tokens":10,"output_tokens":7}}'
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"later"},"request_id":"theirs"}'

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
"""Of a body that ends with its connection."""


def sse_error(kind: str) -> bytes:
    """An error event, with a canary in its text."""
    error = {"type": "error", "error": {"type": kind, "message": "canary of theirs"}}
    return b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"


def sends(head: bytes, *pieces: bytes, then: str = "ends") -> Script:
    """A script that answers every request with ``pieces``, and then ends the body, stalls, closes or dies."""

    async def script(side: UpstreamSide) -> None:
        await side.request()
        is_chunked = b"chunked" in head
        await side.send(head, *(chunk(piece) if is_chunked else piece for piece in pieces if piece))
        if then == "stalls":
            await side.wait_closed()
        elif then == "ends" and is_chunked:
            await side.send(LAST_CHUNK)
        elif then == "dies" or not is_chunked:
            raise trio.BrokenResourceError

    return script


def first_account(first: Script, others: Script) -> Script:
    """A script by which the first account has a fate of its own."""

    async def script(side: UpstreamSide) -> None:
        await (first if side.number == 0 else others)(side)

    return script


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


async def streams_its_first_event_in_halves(side: UpstreamSide) -> None:
    """With more time between them than the first half is held."""
    await side.request()
    await side.send(HEAD, chunk(START[:30]))
    await trio.sleep(3)
    await side.send(chunk(START[30:]), *(chunk(event) for event in STREAM[1:]), LAST_CHUNK)


async def ends_late(side: UpstreamSide) -> None:
    """Half a second after its last event."""
    await side.request()
    await side.send(HEAD, *(chunk(event) for event in STREAM))
    await trio.sleep(0.5)
    await side.send(LAST_CHUNK)


async def goes_on_after_its_end(side: UpstreamSide) -> None:
    """For ever, with what nobody reads."""
    await side.request()
    await side.send(HEAD, *(chunk(event) for event in STREAM))
    while True:
        await trio.sleep(0.1)
        await side.send(chunk(b": " + b"x" * 9_000 + b"\n\n"))
