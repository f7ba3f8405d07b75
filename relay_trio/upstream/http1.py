"""One HTTP/1.1 call at a time over one connection.

A connection belongs to exactly one task, or to the pool. Nothing here cleans up: whoever made the call closes the
connection unless ``is_clean`` says that the answer ended well, so every await in here may be cancelled.

The request goes out in one system call where the kernel takes it. Where it does not (a large body), the answer is read
while the rest is being sent, because an upstream may answer 413 or 429 and stop reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from relay_trio.errors import UpstreamClosed, UpstreamError
from relay_trio.upstream.parser import ResponseParser

if TYPE_CHECKING:
    from relay_trio.http import ResponseHead
    from relay_trio.net.transport import Transport

Origin = tuple[str, str, int]
"""Scheme, host, port: connections of one origin can stand in for each other."""

WATCHED_BYTES = 16 * 1024
"""A request of up to this size is sent without looking for an answer meanwhile: an idle connection takes it whole."""

HELD_BYTES = 64 * 1024
"""Body bytes kept while the request is still being sent; then reading waits until it is out."""


class UpstreamResponse:
    """The answer to one call: its head, and its body read by read. Made by ``UpstreamConnection.call``.

    Content codings are not undone.
    """

    def __init__(self, head: ResponseHead, parser: ResponseParser, transport: Transport, held: bytes) -> None:
        self.head = head
        self._parser = parser
        self._transport: Transport | None = transport
        self._held = held
        self.is_ending = False
        """Whether the answer is complete by its content, and of its body only the end may be missing."""

    async def receive_some(self) -> bytes:
        """The body bytes of the next read that has any; ``b""`` at the end of the whole answer.

        Raises:
            UpstreamClosed: the connection ended before the answer did.
            UpstreamProtocolError: what came is not HTTP/1.1, or breaks a limit.
            trio.ClosedResourceError: the call was left already.

        Cancelled here: safe to retry (no byte was taken from the connection and lost).
        """
        if self._transport is None:
            raise trio.ClosedResourceError("the call of this answer is over")
        parser = self._parser
        if self._held or parser.is_complete:
            await trio.lowlevel.checkpoint()
            held, self._held = self._held, b""
            return held
        while not parser.is_complete:
            data = await _read(self._transport, parser)
            if data:
                return data
        return b""

    def end_early(self) -> None:
        """The answer is complete by its content, and nobody needs the rest of its body. When the call is left, its
        connection is kept if the body comes to its end soon."""
        self.is_ending = True

    def detach(self) -> None:
        """The call is over: from here on nobody can read another call's bytes through this answer."""
        self._transport = None
        if not self.is_ending:
            self._parser.discard()


class UpstreamConnection:
    """An open connection to ``origin``.

    ``has_answered``: at least one byte of the answer to the current request has come; ``is_sent``: all of that request
    went out. ``is_reused``: it is not the
    first call. ``idle_since``: seconds of the trio clock, while the pool has it.
    """

    def __init__(self, transport: Transport, origin: Origin) -> None:
        self.origin = origin
        self.has_answered = False
        self.is_reused = False
        self.idle_since = 0.0
        self._transport = transport
        self._parser: ResponseParser | None = None
        self.is_sent = False
        self._early: list[bytes] = []

    @property
    def is_clean(self) -> bool:
        """Whether the request is out, the answer came to its end, and nothing else came."""
        return self.is_sent and self._parser is not None and self._parser.is_reusable

    @property
    def has_extra(self) -> bool:
        """Whether bytes came after the end of the answer."""
        return self._parser is not None and self._parser.has_extra

    @property
    def is_silent(self) -> bool:
        """Whether an idle connection still is what it should be: open, and without bytes that belong to no call."""
        return self._transport.read_nowait() is None

    def read_end_nowait(self) -> bool:
        """Read what has come of the end of an answer that nobody reads any more. Returns whether the end is there, or
        cannot come."""
        parser = self._parser
        assert parser is not None
        try:
            if not parser.is_complete and (data := self._transport.read_nowait()) is not None:
                _parsed(self._transport, parser, data)
        except UpstreamError:
            return True
        return parser.is_complete

    async def read_end(self) -> None:
        """Read to the end of an answer that nobody reads any more, or until it cannot come.

        Cancelled here: safe to retry (no byte was taken from the connection and lost).
        """
        size = 0
        parser = self._parser
        assert parser is not None
        try:
            while not parser.is_complete and size < HELD_BYTES:
                size += len(await _read(self._transport, parser))
        except UpstreamError:
            return

    def end_answer(self) -> None:
        """Nothing more is read of the answer."""
        if self._parser is not None:
            self._parser.discard()

    def close(self) -> None:
        """Close now; may be called twice."""
        self._transport.close()
        if self._parser is not None:
            self._parser.discard()

    async def call(self, method: str, head: bytes, body: bytes) -> UpstreamResponse:
        """Send a request and wait for the head of its answer.

        Raises:
            UpstreamClosed: the connection ended before the head was whole.
            UpstreamProtocolError: what came is not HTTP/1.1, or breaks a limit.

        Cancelled here: destroys (the connection must be closed).
        """
        self._parser = parser = ResponseParser(method)
        self.is_sent = self.has_answered = False
        self._early.clear()
        transport = self._transport
        await trio.lowlevel.checkpoint_if_cancelled()
        # A transport that breaks meanwhile says so only in ``is_broken``: the upstream stopped reading, and the answer
        # that says why may have come before that.
        if len(head) + len(body) <= WATCHED_BYTES:
            transport.write_nowait(head + body)
            if transport.unsent_bytes:
                await transport.drain()
        else:
            transport.write_nowait(head, body)
            if transport.unsent_bytes:
                await self._drain_watched(parser)
        self.is_sent = not (transport.unsent_bytes or transport.is_broken)
        while parser.head is None:
            await self._read_answer(parser)
        return UpstreamResponse(parser.head, parser, transport, b"".join(self._early))

    async def _read_answer(self, parser: ResponseParser) -> None:
        """Cancelled here: safe to retry (nothing was read)."""
        data = await _read(self._transport, parser, self)
        if data:
            self._early.append(data)

    async def _drain_watched(self, parser: ResponseParser) -> None:
        """Send the rest of the request, until it is out or the upstream's answer makes it pointless.

        Cancelled here: destroys (an unknown part was sent).
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, parser, nursery.cancel_scope)
            await self._transport.drain()
            nursery.cancel_scope.cancel()

    async def _watch(self, parser: ResponseParser, sending: trio.CancelScope) -> None:
        """Read while the request is being sent; end the sending on an error status or a closed connection.

        An early 200 does not end it: the upstream may still be reading.

        Cancelled here: safe to retry (no byte was taken from the connection and lost).
        """
        held = 0
        while held < HELD_BYTES and not parser.is_complete:
            try:
                await self._read_answer(parser)
            except UpstreamError:
                # Kept by the parser, or found again by the next read.
                sending.cancel()
                return
            held = sum(map(len, self._early))
            if parser.head is not None and parser.head.status >= 300:
                sending.cancel()
                return


async def _read(transport: Transport, parser: ResponseParser, connection: UpstreamConnection | None = None) -> bytes:
    """One read: its body bytes, which may be none.

    It waits for readiness first: an answer is seldom there before it is waited for, so this is one system call less
    than trying first, and it makes every read a checkpoint that yields to other tasks.

    Cancelled here: safe to retry (nothing was read).
    """
    if parser.failure is not None:
        raise parser.failure
    data = None
    while data is None:
        await transport.wait_readable()
        data = transport.read_nowait()
    if data and connection is not None:
        connection.has_answered = True
    return _parsed(transport, parser, data)


def _parsed(transport: Transport, parser: ResponseParser, data: bytes) -> bytes:
    """The body bytes in ``data``, the bytes of one read, or none at the end of the connection."""
    if not data:
        if transport.failure is not None:
            raise UpstreamClosed(f"the connection to the upstream broke in the middle of a call: {transport.failure}")
        parser.feed_eof()
        return b""
    return parser.feed(data)
