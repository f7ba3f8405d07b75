"""The link between the upstream reader and the client's body: a memory channel pair, bounded in bytes.

::

    pump ─ write(bytes) ─► [ trio memory channel │ held_bytes <= limit ] ──► receive() ── body ──► client
         └─ send_nowait(bytes) ──────── while the body waits and nothing is held ─────────────────►

The channel itself is unbounded, because counting items bounds nothing: a hundred chunks of 64 KiB are 6.5 MB for one
client that stopped reading. What bounds it is the byte count beside it, which the pump waits for.

A stream that is slower than its client is nearly always in the state in which the body waits for one more chunk. Then
the pump writes it to the client itself: the same bytes to the same socket, without waking a task for it. Whatever the
socket does not take at once, and every end, goes through the channel, so that waiting and judging stay the body's.

The end of the channel means nothing. A good end is a ``StreamDone``, a bad one an ``StreamFailed``, and a channel that
ends with neither was cut: its body must not look finished.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import trio

from relay_trio.relay.chunks import Chunk, Data, StreamDone, StreamFailed

if TYPE_CHECKING:
    from types import TracebackType

SendNowait = Callable[[bytes], int | None]
"""Write a chunk to the client now: how many bytes of it its socket did not take, or None when it must not be now."""

CHANNEL_BYTES = 192 * 1024
"""With one socket read of 64 KiB on top, a stream holds at most 256 KiB inside the relay, whatever its client does."""


PIECE_BYTES = 64 * 1024
"""What the body sends at once. A slow client shows progress with each piece, so pieces must not be the whole limit."""


class ResponseChannel:
    """Both ends and their byte count. The pump holds ``sender``, the body ``receiver``; ``send_nowait`` is that of the
    client's stream."""

    def __init__(self, send_nowait: SendNowait, limit_bytes: int = CHANNEL_BYTES) -> None:
        self.send_nowait = send_nowait
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        send, receive = trio.open_memory_channel[Chunk](math.inf)
        self._lot = trio.lowlevel.ParkingLot()  # at most the pump, waiting for room or for the flush
        self.sender = ChunkSender(self, send)
        self.receiver = ChunkReceiver(self, receive)

    def _wake_pump(self) -> None:
        self._lot.unpark_all()


class ChunkSender:
    """The pump's end. Leaving its ``with`` closes the channel."""

    def __init__(self, response: ResponseChannel, channel: trio.MemorySendChannel[Chunk]) -> None:
        self._response = response
        self._channel = channel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    @property
    def has_room(self) -> bool:
        """Whether the limit allows another chunk."""
        return self._response.held_bytes < self._response.limit_bytes

    def write(self, data: bytes) -> None:
        """Give ``data`` to the client, room or not; callers ask ``has_room`` first. One chunk may exceed the limit.

        One of three things happens to it:

        - *written through*: the body waits and nothing is held, and the client's socket took all of it. Nothing is
          left to do, and the body was not woken.
        - *owed*: the same, but the socket took only a part. The bytes are where they belong; what is unsent of them
          counts as held, and an empty chunk wakes the body, whose next ``send`` waits until the client took them.
        - *queued*: everything else. The bytes lie in the channel and count as held until the body sent them.

        So ``held_bytes`` is never less than what the client's socket has not taken, and none of it overtakes another.

        Raises:
            trio.BrokenResourceError: the body is gone.
        """
        response = self._response
        unsent: int | None = None
        if response.receiver.is_waiting and not response.held_bytes:
            unsent = response.send_nowait(data)
        if unsent is None:
            self._channel.send_nowait(Data(data))
            response.held_bytes += len(data)
        elif unsent:
            self._channel.send_nowait(Data(b""))
            response.receiver.charge(unsent)

    @property
    def is_flushed(self) -> bool:
        """Whether the body has sent everything it was given and asks for more."""
        return not self._response.held_bytes and self._response.receiver.is_waiting

    async def progress(self) -> None:
        """Wait until the body took or sent something. The caller limits how long.

        Raises:
            trio.BrokenResourceError: the body is gone.

        Cancelled here: atomic, nothing was handed over.
        """
        if not self._response.receiver.is_closed:
            await self._response._lot.park()
        if self._response.receiver.is_closed:
            raise trio.BrokenResourceError("the body was given up")

    def finish(self, done: StreamDone) -> None:
        """The explicit good end."""
        self._channel.send_nowait(done)

    def fail(self, failed: StreamFailed) -> None:
        """The explicit bad end; what was handed over before it is still delivered."""
        self._channel.send_nowait(failed)


class ChunkReceiver:
    """The body's end."""

    def __init__(self, response: ResponseChannel, channel: trio.MemoryReceiveChannel[Chunk]) -> None:
        self.is_waiting = False
        """Whether the body waits for more, having sent all it was given."""
        self.is_closed = False
        self._response = response
        self._channel = channel
        self._ended: StreamDone | StreamFailed | None = None
        self._unsent = 0

    def charge(self, size: int) -> None:
        """``size`` bytes were written that the client's socket has not taken: held until the body receives again."""
        self._unsent += size
        self._response.held_bytes += size

    async def receive(self) -> bytes | StreamDone | StreamFailed:
        """The bytes that are waiting, as one piece of ``PIECE_BYTES`` or little more; or the end.

        Receiving more is how the pump learns that the last piece was sent.

        Raises:
            trio.EndOfChannel: the pump ended without saying how: the stream was cut.

        Cancelled here: safe to retry, nothing is lost.
        """
        response = self._response
        if self._unsent:
            response.held_bytes -= self._unsent
            self._unsent = 0
            response._wake_pump()
        if self._ended is not None:
            return self._ended
        try:
            chunk = self._channel.receive_nowait()
        except trio.WouldBlock:
            self.is_waiting = True
            response._wake_pump()
            try:
                chunk = await self._channel.receive()
            finally:
                self.is_waiting = False
        if not isinstance(chunk, Data):
            self._ended = chunk
            return chunk
        return self._gather(chunk.content)

    def _gather(self, first: bytes) -> bytes:
        pieces = [first]
        size = len(first)
        while size < PIECE_BYTES:
            try:
                chunk = self._channel.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            if not isinstance(chunk, Data):
                self._ended = chunk
                break
            pieces.append(chunk.content)
            size += len(chunk.content)
        data = b"".join(pieces) if len(pieces) > 1 else first
        self._unsent += size
        return data

    def close(self) -> None:
        """The body is done or given up. Synchronous, so that it works in a cancelled task."""
        self.is_closed = True
        self._response.held_bytes = 0
        self._channel.close()
        self._response._wake_pump()
