"""One request's two directions: its body as it arrives, its response as it leaves, and whether the client is there.

One ``ServerStream`` per request, the same for HTTP/1.1 and HTTP/2; what differs is how a response gets onto the wire.
The request body lies here, and nowhere else, until somebody takes it. Every state change is synchronous and comes from
the connection.

What the layers above rely on:

- ``receive_body_some`` is the one way to the body. ASGI's ``receive`` has no part of it: a framework calls that before
  any handler has decided whether it needs a body, and takes what comes whether there is room for it or not.
- ``receive`` answers ``http.disconnect`` as soon as the client is lost. From the moment the last body message was given
  to ``send`` it parks instead, so that an application's own ending never looks like a client that left.
- ``send`` after the client is lost does nothing (it is a checkpoint then, nothing else).
- ``send`` is a checkpoint only when it has to wait for the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from relay_trio.server.response_head import BadResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from relay_trio.outcome import DisconnectReason

Message = dict[str, Any]
"""An ASGI message."""

SEND_BYTES = 64 * 1024
"""One send hands at most this much to the socket before it waits, so that a stalled client costs that and no more."""


class ServerStream:
    """One request's stream, which its ``ClientRequest`` holds.

    ``disconnected_at`` is ``trio.current_time()`` when the loss of the client was seen, None before;
    ``disconnect_reason`` says why.
    """

    def __init__(self, *, expects_continue: bool, has_body: bool) -> None:
        self.disconnected_at: float | None = None
        self.disconnect_reason: DisconnectReason | None = None
        self.expects_continue = expects_continue
        self._body: list[bytes] = []
        self.body_bytes = 0  # received and not taken yet
        self.body_has_arrived = not has_body  # its last byte was received
        self._body_arrived: trio.Event | None = None
        self._wake: trio.Event | None = None
        self._start: Message | None = None
        self.has_begun = False  # a byte of the response was written
        self._last_was_given = False
        self._is_over = False  # the send of the last message has returned
        self.is_complete = False  # the whole response was taken over by the transport

    # --- what the application calls ---

    def abort(self) -> None:
        """End this request's connection (HTTP/2: its stream) so that the client cannot take the response for whole."""
        raise NotImplementedError

    async def receive_body_some(self) -> bytes:
        """What arrived of the body since the last call, ``b""`` at its end; asks a client that waits with
        ``Expect: 100-continue`` for it. Never returns once the client is lost.

        Cancelled here: safe to retry, nothing was taken.
        """
        if self.expects_continue and not self.has_begun and self.disconnected_at is None:
            self.expects_continue = False
            self._write_continue()
        while self.disconnected_at is not None or not (self._body or self.body_has_arrived):
            self._body_arrived = trio.Event()
            await self._body_arrived.wait()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        taken, self.body_bytes = self.body_bytes, 0
        if taken:
            self._on_body_taken(taken)
        return body

    async def receive(self) -> Message:
        """That the client is gone, when it is; ASGI's ``receive`` without the body.

        Cancelled here: atomic.
        """
        waited = False
        while True:
            if self.disconnected_at is not None:
                if self._is_over or not self._last_was_given:
                    break
            elif self._is_over and not waited:
                break
            self._wake = trio.Event()
            await self._wake.wait()
            waited = True
        if not waited:
            await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the response; returns when the socket, or a bounded buffer before it, has it.

        The head is held back until the first body message, and leaves with it; an empty one with ``more_body`` sends
        the head alone. Cancelled here: the part is taken over whole or not at all unless it is larger than 64 KiB, in
        which case the response is cut and its connection is not used again.

        Raises:
            BadResponse: the message cannot be put on the wire, or not now.
        """
        if self.disconnected_at is not None:
            self._last_was_given = self._is_over = not message.get("more_body", False) or self._is_over
            await trio.lowlevel.checkpoint()
            return
        if message["type"] == "http.response.body":
            if self.is_complete or (self._start is None and not self.has_begun):
                raise BadResponse("a body needs a response that was started and not ended")
            body = message.get("body", b"")
            is_last = not message.get("more_body", False)
            self._last_was_given = self._last_was_given or is_last
            if not self.has_begun:
                start, self._start = self._start, None
                assert start is not None
                self._begin(int(start["status"]), start.get("headers", ()))
            try:
                await self._send_body(body, is_last)
            finally:
                self._is_over = self._is_over or is_last
            if is_last and self.disconnected_at is not None:
                self.wake()
        elif message["type"] == "http.response.start":
            if self._start is not None or self.has_begun:
                raise BadResponse("the response was started before")
            self._start = dict(message)
        else:
            raise BadResponse(f"no HTTP response has a message {message['type']!r}")

    def send_nowait(self, body: bytes) -> int | None:
        """Send a middle part of the response at once. Call it only while no ``send`` is under way.

        Returns how much of it the socket has not taken, which the next ``send`` waits for (an empty one will do); None
        when it was not sent, and ``send`` has to: before the head has left, after the end, behind other bytes.
        """
        return None

    # --- what the connection calls ---

    def deliver(self, body: bytes, is_last: bool) -> None:
        """Keep request body bytes for the application, unless it has answered without them."""
        if body and not self._last_was_given:
            self._body.append(body)
            self.body_bytes += len(body)
        self.body_has_arrived = is_last
        if self._body_arrived is not None:
            self._body_arrived.set()

    def lose(self, reason: DisconnectReason) -> None:
        """Note that the client is lost; the first reason stays."""
        if self.disconnected_at is None:
            self.disconnected_at = trio.current_time()
            self.disconnect_reason = reason
            self._body.clear()
            self.body_bytes = 0
            self.wake()

    def drop_body(self) -> None:
        """Nobody will take the body any more."""
        self._last_was_given = True
        self._body.clear()
        self.body_bytes = 0

    def wake(self) -> None:
        """Let ``receive`` look again."""
        if self._wake is not None:
            self._wake.set()

    # --- what each protocol fills in ---

    def _write_continue(self) -> None:
        raise NotImplementedError

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Decide the framing and prepare the head; sets ``has_begun``."""
        raise NotImplementedError

    async def _send_body(self, body: bytes, is_last: bool) -> None:
        """Frame and write. Cancelled here: as ``send``."""
        raise NotImplementedError

    def _on_body_taken(self, count: int) -> None:
        """The application took ``count`` bytes: there is room for more."""
