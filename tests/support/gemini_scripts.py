"""What Gemini may do with a request, as scripts over memory streams, and an account there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from tests.support.gemini_answers import ARRAY, ERROR, EVENTS, pretty
from tests.support.memory_harness import HEAD, LAST_CHUNK, chunk

if TYPE_CHECKING:
    from tests.support.memory_harness import UpstreamSide

ARRAY_HEAD = HEAD.replace(b"text/event-stream", b"application/json; charset=UTF-8")
STREAM = "/v1beta/models/g:streamGenerateContent"
BODY = b'{"contents": [{"parts": [{"text": "hello"}]}]}'


def accounts(provider: str = "gemini", **changes: Any) -> dict[str, Any]:
    """The accounts a and b at ``provider``."""
    proof: dict[str, Any] = {"api_key": "AIza-account"}
    if provider == "vertex":
        proof = {"project": "mine", "location": "global", "token_command": ["printf", "ya29.token"]}
    common = {"provider": provider, "max_concurrency": 1, "models": ["*"], **proof, **changes}
    return {
        "account": [
            {"name": name, "base_url": f"http://127.0.0.1:{1000 + number}", **common}
            for number, name in enumerate("ab")
        ]
    }


async def streams(side: UpstreamSide) -> None:
    """A whole stream, event by event."""
    await side.request()
    await side.send(HEAD, *(chunk(event) for event in EVENTS), LAST_CHUNK)


async def streams_an_array(side: UpstreamSide) -> None:
    await side.request()
    await side.send(ARRAY_HEAD, *(chunk(piece) for piece in ARRAY), LAST_CHUNK)


async def dies_midway(side: UpstreamSide) -> None:
    """Inside an event."""
    await side.request()
    await side.send(HEAD, chunk(EVENTS[0]), chunk(EVENTS[1][:30]))
    raise trio.BrokenResourceError


async def ends_between_events(side: UpstreamSide) -> None:
    """An end that is right for HTTP, and not for the stream."""
    await side.request()
    await side.send(HEAD, *(chunk(event) for event in EVENTS[:-1]), LAST_CHUNK)


async def ends_between_elements(side: UpstreamSide) -> None:
    await side.request()
    await side.send(ARRAY_HEAD, *(chunk(piece) for piece in ARRAY[:-1]), LAST_CHUNK)


async def reports_an_error(side: UpstreamSide) -> None:
    """As lines, after the first event."""
    await side.request()
    await side.send(HEAD, chunk(EVENTS[0]), chunk(pretty(ERROR) + b"\n"), LAST_CHUNK)


async def first_account_is_exhausted(side: UpstreamSide) -> None:
    if side.number:
        return await streams(side)
    await side.request()
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]
    body = json.dumps(
        {"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": details}}
    ).encode()
    head = b"HTTP/1.1 429 Slow\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return await side.send(head, body)
