"""Where quart-trio's per-request nursery is handed to the relay.

quart-trio opens one nursery per request and cancels it when the client disconnects; handler and body run in one of its
tasks. A nursery opened in the handler would not cover the body, one opened in the body breaks (PEP 789): so this very
nursery is put into the ASGI scope, and the pump is started in it.

What else is repaired here, each by a test that fails without it:

* The disconnect that the server reports inside the response's *last* send is no disconnect: the answer is whole.
  quart-trio would cancel the request in the middle of that send, and the connection would never be recycled or closed.
* A body that must not look finished raises ``StreamAborted``, which ends the request without its final message; the
  server then closes the connection without the terminating chunk. That is intended, so nobody logs it as a crash.
* The request's body is counted and bounded as it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import trio
from quart import request
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.datastructures import Headers

from relay_trio.errors import BadRequest, BodyTooLarge
from relay_trio.relay.presence import ClientPresence

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, HTTPScope, WebsocketScope
    from quart import Quart
    from quart.wrappers import Request

    from relay_trio.outcome import DisconnectReason
    from relay_trio.relay.channel import Forward

_KEY = "relay.link"


class Connection(Protocol):
    """What our server puts into the scope as ``relay.connection``; other servers have none."""

    disconnected_at: float | None
    disconnect_reason: DisconnectReason | None

    def ask_for_body(self) -> None:
        """Tell a client that waits with ``Expect: 100-continue`` to send its body."""

    def send_nowait(self, body: bytes) -> int | None:
        """Send a middle part of the response at once: how much of it is unsent, or None if that must not be now."""


class StreamAborted(Exception):
    """The body ends here without an end: the client must not take it for complete."""


class IncomingBody:
    """The request's body as it arrives: bounded, read by one task. Implements ``relay.intake.BodySource``."""

    def __init__(
        self, declared_bytes: int | None, is_malformed: bool = False, connection: Connection | None = None
    ) -> None:
        self.declared_bytes = declared_bytes
        self.is_malformed = is_malformed
        """The request declared a length that is no number."""
        self._connection = connection
        self.is_complete = False
        self.max_unread_bytes = 0
        """Set from the configuration before anything is read; arriving beyond it is an error, not a wait."""
        self._parts: list[bytes] = []
        self._unread_bytes = 0
        self._is_too_large = False
        self._arrived = trio.Event()

    def append(self, data: bytes, *, is_last: bool) -> None:
        """What arrived. Synchronous: the watcher that calls it must stay free to see the disconnect."""
        if data and not self._is_too_large:
            self._unread_bytes += len(data)
            if self._unread_bytes > self.max_unread_bytes:
                self._is_too_large = True
                self._parts.clear()
            else:
                self._parts.append(data)
        self.is_complete = self.is_complete or is_last
        self._arrived.set()

    async def receive_some(self) -> bytes:
        """What has arrived since the last call, ``b""`` at the end of the body.

        Raises:
            BadRequest: its declared length is no number.
            BodyTooLarge: more arrived than may.

        Cancelled here: safe to retry.
        """
        if self.is_malformed:
            raise BadRequest("content-length is not a number")
        if self._connection is not None:
            self._connection.ask_for_body()  # a client that sent Expect: 100-continue waits for this
        while not self._parts and not self.is_complete and not self._is_too_large:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._is_too_large:
            raise BodyTooLarge(f"the body is larger than {self.max_unread_bytes} bytes")
        data = b"".join(self._parts)
        self._parts.clear()
        self._unread_bytes = 0
        return data


@dataclass(frozen=True, slots=True)
class ScopeHead:
    """The head of a request, as its ASGI scope has it."""

    method: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]


class RequestLink:
    """What one request's tasks share: the nursery, the client's presence, the arriving body."""

    def __init__(self, headers: list[tuple[bytes, bytes]], connection: Connection | None = None) -> None:
        self.nursery: trio.Nursery | None = None
        self.presence = ClientPresence()
        self.body = IncomingBody(*_declared_bytes(headers), connection)
        self.is_last_send_begun = False
        self._connection = connection

    @property
    def forward(self) -> Forward | None:
        """How the pump may write to the client while the body waits; None with other servers."""
        return None if self._connection is None else self._connection.send_nowait

    def note_loss(self) -> None:
        """The client is gone: since when, and why, the connection knows best."""
        connection = self._connection
        seen_at = None if connection is None else connection.disconnected_at
        self.presence.left_at = trio.current_time() if seen_at is None else seen_at
        self.presence.has_timed_out = (
            connection is not None
            and connection.disconnect_reason is not None
            and connection.disconnect_reason.is_timeout
        )


def link_of(scope: Any) -> RequestLink:
    """The link of a request, by its ASGI scope."""
    return cast("RequestLink", scope[_KEY])


def head_of(scope: HTTPScope) -> ScopeHead:
    """The head of a request, by its ASGI scope."""
    return ScopeHead(scope["method"], scope["raw_path"], scope["query_string"], list(scope["headers"]))


def http_scope() -> HTTPScope:
    """The ASGI scope of the current request."""
    return cast("HTTPScope", request.scope)


class RequestConnection(TrioASGIHTTPConnection):
    """``app.asgi_http_class``: one request."""

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        super().__init__(app, scope)
        self._link = RequestLink(list(scope["headers"]), cast("Connection | None", scope.get("relay.connection")))
        self._link.body.max_unread_bytes = app.config["RELAY_MAX_BODY_BYTES"]
        scope[_KEY] = self._link  # type: ignore[literal-required]  # the scope is the request's own dict

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """As quart-trio's, with handler and body in the task that has the nursery, instead of in one more.

        Cancelled here: destroys the response.
        """
        request = self._create_request_from_scope(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_messages, nursery, request, receive)
            await self.handle_request(nursery, request, send)

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        """Quart's request with the one header that its routing needs.

        Quart copies and renames every header, and adds one of its own (``Remote-Addr``, which must not reach an
        upstream). The relay reads headers from the scope, as they came.
        """
        scope = self.scope
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return self.app.request_class(
            scope["method"],
            scope["scheme"],
            scope["path"],
            scope["query_string"],
            Headers([("Host", host)]),
            "",
            scope["http_version"],
            max_content_length=None,
            body_timeout=None,
            send_push_promise=_no_push,
            scope=scope,
        )

    async def handle_messages(  # type: ignore[override]  # as quart-trio overrides Quart's
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """The disconnect watcher. Cancelled here: atomic."""
        link = self._link
        while True:
            event = await receive()
            if event["type"] == "http.request":
                link.body.append(event.get("body", b""), is_last=not event.get("more_body", False))
            elif event["type"] == "http.disconnect":
                if not link.is_last_send_begun:
                    link.note_loss()
                    nursery.cancel_scope.cancel()
                return

    async def handle_request(  # type: ignore[override]  # as quart-trio overrides Quart's
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Handler, then body. Cancelled here: destroys the response; the connection is closed without a terminator."""
        link = self._link
        link.nursery = nursery

        async def watched_send(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                link.is_last_send_begun = True
            await send(message)

        try:
            await super().handle_request(nursery, request, watched_send)
        except StreamAborted:
            nursery.cancel_scope.cancel()


async def _no_push(path: str, headers: Headers) -> None:
    """HTTP/2 server push is not offered. Cancelled here: atomic."""


class RefusedWebsocket:
    """``app.asgi_websocket_class``: there are none here."""

    def __init__(self, app: Quart, scope: WebsocketScope) -> None:
        pass

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Cancelled here: atomic."""
        await send({"type": "websocket.close", "code": 1000, "reason": None})


def _declared_bytes(headers: list[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """The declared length, and whether there is one that is no number (RFC 9110 section 8.6: digits, nothing else)."""
    for name, value in headers:
        if name == b"content-length":
            return (int(value), False) if value.isdigit() else (None, True)
    return None, False
