"""The application that clients reach: relayed routes, health, and errors in the dialect of the route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response
from werkzeug.exceptions import HTTPException

from relay_trio.errors import BadRequest, MethodNotAllowed, RelayError
from relay_trio.observe.log import log_defect
from relay_trio.relay.events import Rejection
from relay_trio.vendors.registry import DIALECTS, dialect_of
from relay_trio.web.answers import error_answer, relay
from relay_trio.web.asgi import RefusedWebsocket, RequestConnection, client_request
from relay_trio.web.catch_all import CatchAllApp
from relay_trio.web.cors import allow, preflight
from relay_trio.web.healthz import add_health
from relay_trio.web.router import Router, shown_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart_trio import QuartTrio

    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay


def client_app(core: Relay, ring: KeyRing) -> QuartTrio:
    """The ASGI application for the client listeners."""
    app = bare_app(core.events.request_rejected)
    add_health(app, core)

    @app.route("/", methods=["GET", "HEAD"])
    @app.route("/api/hello", methods=["GET", "HEAD"])
    async def root() -> Response:
        """Coding agents warm their connection with HEAD before they send anything else; nothing is behind it."""
        return Response("relay-trio\n", content_type="text/plain")

    router = Router(DIALECTS)

    async def relayed() -> Response:
        """The router looks at the path as it came."""
        request = client_request()
        answer = preflight(request, core.settings.server.cors_origins)
        return answer or await relay(core, ring, request, router.match(request))

    @app.after_request
    async def allow_origin(response: Response) -> Response:
        if origins := core.settings.server.cors_origins:
            allow(response, client_request(), origins)
        return response

    app.catch_all(relayed)
    return app


def bare_app(on_rejected: Callable[[Rejection], None] = lambda rejection: None) -> CatchAllApp:
    """A Quart-trio application with this package's request connection and error envelopes, and no routes.

    ``on_rejected`` is given each request that fits no route, or fails before it reaches the relay.
    """
    app = CatchAllApp("relay_trio", static_folder=None)
    app.asgi_http_class = RequestConnection
    app.asgi_websocket_class = RefusedWebsocket  # type: ignore[assignment]  # it only has to be called
    app.url_map.merge_slashes = False  # its redirects know no dialect, and // is not the path that was signed
    app.config["RESPONSE_TIMEOUT"] = None  # the default cuts every stream after 60 s, with nothing logged
    app.config["BODY_TIMEOUT"] = None  # bodies are read by the relay, with its own limits
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def reject(error: RelayError) -> Response:
        on_rejected(Rejection(error.kind.value, client_request().id))
        return _in_dialect(error)

    @app.errorhandler(HTTPException)
    async def not_routed(error: HTTPException) -> Response:
        """Quart's own refusals, in dialect."""
        if error.code == 405:
            request = client_request()
            allowed = getattr(error, "valid_methods", None) or ()
            return reject(MethodNotAllowed(f"{shown_path(request)} does not answer {request.method}", allowed))
        return reject(BadRequest("the request cannot be read"))

    @app.errorhandler(Exception)
    async def crashed(error: Exception) -> Response:
        """A defect of ours. Where it happened is logged, without values; the client learns an id to quote."""
        if isinstance(error, RelayError):
            return reject(error)
        request_id = client_request().id
        log_defect(error, request_id)
        return _in_dialect(RelayError(f"the relay failed; quote {request_id}"))

    return app


def _in_dialect(error: RelayError) -> Response:
    request = client_request()
    return error_answer(dialect_of(request), error, request)
