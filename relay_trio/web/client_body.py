"""The response body: the receiving end of the response channel, in the form that Quart iterates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import trio
from quart.wrappers.response import ResponseBody

from relay_trio.relay.chunks import StreamDone, StreamFailed
from relay_trio.web.asgi import StreamAborted

if TYPE_CHECKING:
    from types import TracebackType

    from relay_trio.relay.channel import ChunkReceiver


class ClientBody(ResponseBody):
    """Sends the client what the response channel brings, in the handler's own task.

    It may never be entered (a cancel can fall between handler and body) and owns nothing: slot and upstream belong to
    the pump.
    """

    def __init__(self, receiver: ChunkReceiver) -> None:
        self._receiver = receiver
        self._closing_event_is_sent = False

    async def __aenter__(self) -> Self:
        """Cancelled here: atomic."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Synchronous in fact, so that it works in a cancelled task."""
        self._receiver.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes for the client.

        Raises:
            StreamAborted: the stream was cut; it must not look finished.

        Cancelled here: safe to retry.
        """
        try:
            chunk = await self._receiver.receive()
        except trio.EndOfChannel:
            raise StreamAborted from None
        if isinstance(chunk, bytes):
            return chunk
        if isinstance(chunk, StreamDone) or chunk.is_error_forwarded:
            raise StopAsyncIteration
        assert isinstance(chunk, StreamFailed)
        if chunk.closing_event and not self._closing_event_is_sent:
            self._closing_event_is_sent = True
            return chunk.closing_event
        raise StreamAborted
