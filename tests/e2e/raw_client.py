"""A client that sees every byte: what SDKs forgive, it does not.

It sends what it is given, and reads one answer at a time by its framing, telling how the answer ended.
"""

from __future__ import annotations

import json
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from tests.e2e.house import KEY, PROMPT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True)
class RawAnswer:
    """One answer. ``is_whole``: its framing says so. ``ended_by``: what came after an answer that is not whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    is_whole: bool = False
    ended_by: str = ""
    pieces: list[bytes] = field(default_factory=list)

    def header(self, name: bytes) -> bytes | None:
        """The only value of ``name``, or None."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name!r} stands {len(values)} times"
        return values[0] if values else None

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


class RawClient:
    """One connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = bytearray()

    async def send(self, data: bytes) -> None:
        """Cancelled here: destroys."""
        await self.stream.send_all(data)

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
        head = await self._until(b"\r\n\r\n")
        if head is None:
            return None
        lines = head.split(b"\r\n")
        headers = [(n.lower(), v.strip()) for n, _, v in (line.partition(b":") for line in lines[1:] if line)]
        answer = RawAnswer(int(lines[0].split()[1]), headers)
        length = answer.header(b"content-length")
        if method == "HEAD" or answer.status in (204, 304):
            answer.is_whole = True
        elif answer.header(b"transfer-encoding") == b"chunked":
            await self._read_chunks(answer, limit_bytes)
        elif length is not None:
            answer.is_whole = await self._fill(answer, int(length))
            answer.body = self._take(min(len(self._unread), int(length)))
        else:
            raise AssertionError("an answer without framing")
        return answer

    async def wait_closed(self) -> str:
        """``eof`` or ``reset``, once the relay ended the connection. Cancelled here: safe to retry."""
        answer = RawAnswer(0, [])
        while await self._receive(answer):
            pass
        return answer.ended_by

    def reset(self) -> None:
        """Leave with RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def _read_chunks(self, answer: RawAnswer, limit_bytes: int | None) -> None:
        while limit_bytes is None or len(answer.body) < limit_bytes:
            line = await self._until(b"\r\n", answer)
            if line is None:
                return
            size = int(line.split(b";")[0], 16)
            is_there = await self._fill(answer, size + 2)
            piece = self._take(min(len(self._unread), size))
            if piece:
                answer.body += piece
                answer.pieces.append(piece)
            if not is_there:
                return
            self._take(2)
            if size == 0:
                answer.is_whole = True
                return

    async def _until(self, mark: bytes, answer: RawAnswer | None = None) -> bytes | None:
        while (at := self._unread.find(mark)) < 0:
            if not await self._receive(answer):
                assert answer is not None or not self._unread, f"half a head: {bytes(self._unread)!r}"
                return None
        taken = self._take(at + len(mark))
        return taken[: -len(mark)]

    async def _fill(self, answer: RawAnswer, size: int) -> bool:
        while len(self._unread) < size:
            if not await self._receive(answer):
                return False
        return True

    async def _receive(self, answer: RawAnswer | None) -> bool:
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            ended_by = "reset"
        else:
            if data:
                self._unread += data
                return True
            ended_by = "eof"
        if answer is not None:
            answer.ended_by = ended_by
        return False

    def _take(self, size: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken


@asynccontextmanager
async def open_raw(port: int) -> AsyncIterator[RawClient]:
    """Cancelled here: destroys."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield RawClient(stream)


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
