"""The one file that knows Quart's request and ASGI's scope: above it there is only the ``ClientRequest``.

quart-trio opens one nursery per request and cancels it when the client disconnects; handler and body run in one of its
tasks. A nursery opened in the handler would not cover the body, one opened in the body breaks (PEP 789): so this very
nursery is put into the ``ClientRequest``, and the pump is started in it.

What else is repaired here: a body that must not look finished raises ``StreamAborted``, which ends the request without
its final message; the server then closes the connection without the terminating chunk. That is intended, so nobody
logs it as a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio
from quart import request
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.datastructures import Headers

from relay_trio.server.context import REQUEST_KEY

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, WebsocketScope
    from quart import Quart
    from quart.wrappers import Request
    from quart.wrappers.base import BaseRequestWebsocket

    from relay_trio.server.client_request import ClientRequest


class StreamAborted(Exception):
    """The body ends here without an end: the client must not take it for complete."""


_HEADERS = Headers([("Host", "relay")])
"""What Quart and werkzeug are given in place of a request's own headers; they change nothing in it."""


def client_request() -> ClientRequest:
    """The request that the current task handles."""
    return client_request_of(request)


def client_request_of(request: BaseRequestWebsocket) -> ClientRequest:
    """The request that Quart's stands for."""
    return _client_request(cast("HTTPScope", request.scope))


class RequestConnection(TrioASGIHTTPConnection):
    """``app.asgi_http_class``: one request. Its disconnect watcher is quart-trio's own ``handle_messages``."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """As quart-trio's, with handler and body in the task that has the nursery, instead of in one more.

        Cancelled here: destroys the response.
        """
        request = self._create_request_from_scope(send)
        async with trio.open_nursery() as nursery:
            _client_request(self.scope).nursery = nursery
            nursery.start_soon(self.handle_messages, nursery, request, receive)
            await self.handle_request(nursery, request, send)

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        """Quart's request, with nothing in it that a client can make unreadable.

        Quart copies and renames every header, and adds one of its own (``Remote-Addr``, which must not reach an
        upstream); werkzeug reads the host as a domain name, and fails where it is none. The relay reads headers from
        the ``ClientRequest``, as they came. The path is the raw one, so that an own path too has one spelling.
        """
        client_request = _client_request(self.scope)
        return self.app.request_class(
            client_request.method,
            client_request.scheme,
            client_request.raw_path.decode("latin-1"),
            client_request.query,
            _HEADERS,
            "",
            client_request.http_version,
            max_content_length=None,
            body_timeout=None,
            send_push_promise=_no_push,
            scope=self.scope,
        )

    async def handle_request(  # type: ignore[override]  # as quart-trio overrides Quart's
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Handler, then body. Cancelled here: destroys the response; the connection is closed without a terminator."""
        try:
            await super().handle_request(nursery, request, send)
        except StreamAborted:
            nursery.cancel_scope.cancel()


async def _no_push(path: str, headers: Headers) -> None:
    """HTTP/2 server push is not offered. Cancelled here: atomic."""


def _client_request(scope: HTTPScope) -> ClientRequest:
    return cast("ClientRequest", scope[REQUEST_KEY])  # type: ignore[literal-required]  # the server's own key


class RefusedWebsocket:
    """``app.asgi_websocket_class``: there are none here."""

    def __init__(self, app: Quart, scope: WebsocketScope) -> None:
        pass

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Cancelled here: atomic."""
        await send({"type": "websocket.close", "code": 1000, "reason": None})
