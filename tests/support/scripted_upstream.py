"""An upstream that sends exactly the bytes it is given, in exactly the pieces it is given."""

from __future__ import annotations

import itertools
import re
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    Headers = Sequence[tuple[str, str]]


class End(Enum):
    """What follows the last piece."""

    COMPLETE = "the framing's own end; the connection stays"
    FIN = "FIN, without the framing's end"
    RESET = "RST"


@dataclass(frozen=True, slots=True)
class Play:
    """One answer: ``pieces`` are sent one by one, after ``head``."""

    head: bytes
    pieces: Sequence[bytes]
    end: End = End.COMPLETE


def chunked(pieces: Sequence[bytes], *, status: int = 200, headers: Headers = (), end: End = End.COMPLETE) -> Play:
    """``pieces`` as HTTP chunks, each in a send of its own."""
    sent = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    if end is End.COMPLETE:
        sent.append(b"0\r\n\r\n")
    return Play(_head(status, headers, "transfer-encoding: chunked"), sent, end)


def sized(pieces: Sequence[bytes], *, status: int = 200, headers: Headers = ()) -> Play:
    """``pieces`` as they are, after their length."""
    return Play(_head(status, headers, f"content-length: {sum(map(len, pieces))}"), pieces)


def stream(pieces: Sequence[bytes], *, end: End = End.COMPLETE) -> Play:
    """An event stream."""
    return chunked(pieces, headers=[("content-type", "text/event-stream; charset=utf-8")], end=end)


def _head(status: int, headers: Headers, framing: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers), framing]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


@dataclass(slots=True)
class ScriptedUpstream:
    """Answers every request with ``play``. ``requests`` are the heads and bodies that came."""

    port: int
    play: Play
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def prepare(self) -> None:
        """What comes before every answer, once its request is here. Cancelled here: atomic."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection. Cancelled here: destroys."""
        unread = bytearray()
        async with stream:
            try:
                while await self._answer(stream, unread):
                    pass
            except trio.BrokenResourceError:
                return  # the relay hung up: what a relay does

    async def _answer(self, stream: trio.SocketStream, unread: bytearray) -> bool:
        while (at := unread.find(b"\r\n\r\n")) < 0:
            data = await stream.receive_some()
            if not data:
                return False
            unread += data
        length = re.search(rb"\r\ncontent-length: (\d+)", bytes(unread[: at + 2]).lower())
        size = at + 4 + (int(length[1]) if length else 0)
        while len(unread) < size:
            data = await stream.receive_some()
            if not data:
                return False
            unread += data
        self.requests.append((bytes(unread[: at + 4]), bytes(unread[at + 4 : size])))
        del unread[:size]
        await self.prepare()
        play = self.play
        for piece in itertools.chain([play.head], play.pieces):
            await stream.send_all(piece)
        if play.end is End.RESET:
            await trio.sleep(0.01)  # a reset throws away what the relay has not read yet
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        return play.end is End.COMPLETE


@asynccontextmanager
async def open_scripted() -> AsyncIterator[ScriptedUpstream]:
    """Listening on port 0. Cancelled here: destroys."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    upstream = ScriptedUpstream(listener.socket.getsockname()[1], sized([b"{}"]))
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, upstream.serve, [listener])
        yield upstream
        nursery.cancel_scope.cancel()
