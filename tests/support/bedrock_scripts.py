"""What Bedrock may do with a request, as scripts over memory streams, and an account there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.support.bedrock_frames import CLAUDE, exception
from tests.support.memory_harness import LAST_CHUNK, chunk

if TYPE_CHECKING:
    from tests.support.memory_harness import UpstreamSide

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
INVOKE_STREAM = "/model/x.m/invoke-with-response-stream"

ACCOUNTS: dict[str, Any] = {
    "account": [
        {
            "name": name,
            "provider": "bedrock",
            "region": "eu-central-1",
            "access_key_id": "AKIAFIXED",
            "secret_access_key": "fixed",
            "base_url": f"http://127.0.0.1:{1000 + number}",
            "models": ["*"],
            "model_ids": {"m": "eu.anthropic.m-v1:0"},
            "max_concurrency": 1,
        }
        for number, name in enumerate("ab")
    ]
}


async def streams(side: UpstreamSide) -> None:
    """A whole stream, frame by frame."""
    await side.request()
    await side.send(HEAD, *(chunk(frame) for frame in CLAUDE), LAST_CHUNK)


async def pauses(side: UpstreamSide) -> None:
    """A whole stream with 40 seconds of silence in it."""
    await side.request()
    await side.send(HEAD, *(chunk(frame) for frame in CLAUDE[:2]))
    await trio.sleep(40)
    await side.send(*(chunk(frame) for frame in CLAUDE[2:]), LAST_CHUNK)


async def falls_silent(side: UpstreamSide) -> None:
    """In the middle of a frame, for ever."""
    await side.request()
    await side.send(HEAD, chunk(CLAUDE[0]), chunk(CLAUDE[1][:20]))
    await side.wait_closed()


async def dies_midway(side: UpstreamSide) -> None:
    """Inside a frame."""
    await side.request()
    await side.send(HEAD, chunk(CLAUDE[0]), chunk(CLAUDE[1][:20]))
    raise trio.BrokenResourceError


async def ends_between_frames(side: UpstreamSide) -> None:
    """An end that is right for HTTP, and not for the stream."""
    await side.request()
    await side.send(HEAD, *(chunk(frame) for frame in CLAUDE[:-1]), LAST_CHUNK)


async def reports_an_exception(side: UpstreamSide) -> None:
    """And goes on as if it had not."""
    await side.request()
    await side.send(HEAD, chunk(CLAUDE[0] + exception("modelStreamErrorException")), chunk(CLAUDE[1]), LAST_CHUNK)


async def first_account_is_throttled(side: UpstreamSide) -> None:
    if side.number:
        return await streams(side)
    await side.request()
    head = b"HTTP/1.1 429 Slow\r\nx-amzn-errortype: ThrottlingException:http://x/\r\ncontent-length: 15\r\n\r\n"
    return await side.send(head, b'{"message":"x"}')
