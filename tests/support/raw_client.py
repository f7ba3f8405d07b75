"""The client that sees every byte (``demo.http_client``), and requests and answers of the Messages API for it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.demo.http_client import Answer, Ended, HttpClient
from tests.support.socket_harness import KEY, PROMPT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class RawAnswer(Answer):
    """One answer of the relay."""

    @property
    def request_id(self) -> str:
        return (self.header(b"request-id") or b"").decode()

    @property
    def error(self) -> dict[str, Any]:
        """The ``error`` member of a body in Anthropic's envelope, which is checked."""
        return envelope_error(json.loads(self.body), self.request_id)


def envelope_error(envelope: Any, request_id: str) -> dict[str, Any]:
    """The error inside ``envelope``, which must be Anthropic's and name ``request_id``."""
    assert envelope["type"] == "error"
    assert envelope["request_id"] == request_id
    assert request_id.startswith("req_")
    error: dict[str, Any] = envelope["error"]
    assert isinstance(error["type"], str)
    assert error["message"]
    return error


class RawClient(HttpClient):
    """One connection to the relay."""

    async def ask(self, data: bytes) -> RawAnswer:
        """Send a request, read its answer. Cancelled here: destroys."""
        await self.send(data)
        answer = await self.read_answer()
        assert answer is not None, "the connection was closed without an answer"
        return answer

    async def read_answer(self, *, method: str = "POST", limit_bytes: int | None = None) -> RawAnswer | None:
        """The next answer, None when the connection ends before one begins; with ``limit_bytes`` only so much of it.

        Cancelled here: destroys.
        """
        head = await self.receive_head(method)
        if head is None:
            assert self.ended is not Ended.JUNK
            return None
        answer = RawAnswer(head.status, head.headers)
        while (limit_bytes is None or len(answer.received) < limit_bytes) and await self.receive_part(answer):
            pass
        return answer


@asynccontextmanager
async def open_raw(port: int) -> AsyncIterator[RawClient]:
    """Cancelled here: destroys."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield RawClient(stream, stream.socket)


def message(model: str = "claude-sim", *, stream: bool = True, **members: object) -> bytes:
    """The body of a message request."""
    content = [{"role": "user", "content": PROMPT}]
    return json.dumps({"model": model, "max_tokens": 1000, "stream": stream, "messages": content} | members).encode()


def request(
    body: bytes = b"",
    *,
    method: str = "POST",
    target: str = "/v1/messages",
    key: str | None = KEY,
    headers: tuple[str, ...] = (),
    framing: str | None = None,
) -> bytes:
    """The bytes of one request. ``framing`` stands in place of ``content-length`` when it is given."""
    lines = [f"{method} {target} HTTP/1.1", "host: relay", "anthropic-version: 2023-06-01"]
    lines += ["content-type: application/json"] if body else []
    lines += [f"x-api-key: {key}"] if key is not None else []
    lines += list(headers)
    lines += [f"content-length: {len(body)}" if framing is None else framing] if body or framing else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask(port: int, data: bytes) -> RawAnswer:
    """One request on a connection of its own. Cancelled here: destroys."""
    async with open_raw(port) as client:
        return await client.ask(data)
