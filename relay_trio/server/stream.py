"""What the application holds of one request: the two ASGI calls, and beside them whether the client is connected.

One ``ServerStream`` per request, the same for HTTP/1.1 and HTTP/2; what differs is how a response gets onto the wire.
The request body lies here until the application takes it. Every state change is synchronous and comes from the
connection.

What the layers above rely on:

- ``receive`` answers ``http.disconnect`` as soon as the client is lost. From the moment the last body message was given
  to ``send`` it parks instead, so that an application's own ending never looks like a client that left.
- ``send`` after the client is lost does nothing (it is a checkpoint then, nothing else).
- ``send`` is a checkpoint only when it has to wait for the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import unquote

import trio

from relay_trio.server.response_head import BadResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.outcome import DisconnectReason

Scope = dict[str, Any]
Message = dict[str, Any]
Application = Callable[..., Awaitable[None]]
"""An ASGI 3 application. Frameworks type scope and messages each in their own way."""

# One send hands at most this much to the socket before it waits, so that a stalled client costs that and no more.
SEND_BYTES = 64 * 1024


class RequestLine(Protocol):
    """What a scope needs to know of a request, whatever its protocol."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]


class ServerStream:
    """One request and its response. The application finds it in ``scope["relay.connection"]``.

    ``disconnected_at`` is ``trio.current_time()`` when the loss of the client was seen, None before;
    ``disconnect_reason`` says why.
    """

    http_version: ClassVar[str]

    def __init__(self, *, expects_continue: bool, continue_on_receive: bool, has_body: bool) -> None:
        self.disconnected_at: float | None = None
        self.reason: DisconnectReason | None = None
        self._continue_on_receive = continue_on_receive
        self.expects_continue = expects_continue
        self._body: list[bytes] = []
        self.body_bytes = 0  # received and not taken yet
        self._body_is_whole = not has_body
        self._body_was_delivered = False
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

    def ask_for_body(self) -> None:
        """Tell a client that waits with ``Expect: 100-continue`` to send its body; otherwise nothing."""
        if self.expects_continue and not self.has_begun and self.disconnected_at is None:
            self.expects_continue = False
            self._write_continue()

    async def receive(self) -> Message:
        """The next part of the request, or that the client is gone.

        Cancelled: atomic, nothing was taken.
        """
        if self._continue_on_receive:
            self.ask_for_body()
        waited = False
        while True:
            if self.disconnected_at is not None:
                if self._is_over or not self._last_was_given:
                    break
            elif self._body or (self._body_is_whole and not self._body_was_delivered):
                return self._take_body()
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
        the head alone. Cancelled: the part is taken over whole or not at all unless it is larger than 64 KiB, in
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
        self._body_is_whole = is_last
        self.wake()

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

    def _take_body(self) -> Message:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        taken, self.body_bytes = self.body_bytes, 0
        self._body_was_delivered = self._body_is_whole
        if taken:
            self._on_body_taken(taken)
        return {"type": "http.request", "body": body, "more_body": not self._body_is_whole}

    # --- what each protocol fills in ---

    def _write_continue(self) -> None:
        raise NotImplementedError

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Decide the framing and prepare the head; sets ``has_begun``."""
        raise NotImplementedError

    async def _send_body(self, body: bytes, is_last: bool) -> None:
        """Frame and write. Cancelled: as ``send``."""
        raise NotImplementedError

    def _on_body_taken(self, count: int) -> None:
        """The application took ``count`` bytes: there is room for more."""


def make_scope(
    stream: ServerStream,
    *,
    http_version: str,
    method: str,
    scheme: str,
    path: bytes,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    client: tuple[str, int] | None,
    server: tuple[str, int] | None,
    state: dict[str, Any],
) -> Scope:
    """The ASGI scope of one request; ``relay.connection`` in it is the stream itself."""
    text = path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": http_version,
        "method": method,
        "scheme": scheme,
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": server,
        "state": state.copy(),
        "extensions": {},
        "relay.connection": stream,
    }
