"""The application that operators reach: health, and what is true inside right now."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from quart import Response

from relay_trio.errors import NotFound
from relay_trio.http import header
from relay_trio.observe.invariants import snapshot
from relay_trio.observe.tasks import task_tree
from relay_trio.web.asgi import client_request
from relay_trio.web.healthz import add_health, as_json
from relay_trio.web.quart_app import bare_app
from relay_trio.web.router import shown_path

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay

_OPEN_PATHS = (b"/healthz", b"/readyz")


def admin_app(core: Relay, ring: KeyRing) -> QuartTrio:
    """The ASGI application for the admin listener. With a token configured, everything but health asks for it."""
    app = bare_app()
    add_health(app, core)

    @app.before_request
    async def require_token() -> Response | None:
        request = client_request()
        token = core.settings.admin.token
        if token is None or request.raw_path in _OPEN_PATHS:
            return None
        presented = (header(request.headers, b"authorization") or b"").removeprefix(b"Bearer ")
        if hmac.compare_digest(presented, token.get_secret_value().encode()):
            return None
        return as_json({"error": "the admin token is required as Authorization: Bearer"}, status=401)

    @app.route("/debug/invariants")
    async def invariants() -> Response:
        return as_json(snapshot(core, ring))

    @app.route("/debug/tasks")
    async def tasks() -> Response:
        return Response(task_tree(), content_type="text/plain; charset=utf-8")

    async def elsewhere() -> Response:
        request = client_request()
        raise NotFound(f"no such route: {request.method} {shown_path(request)}")

    app.catch_all(elsewhere)
    return app
