"""``GET /v1/models``, which more than one API has: the client's own headers say which one is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.web import claude_routes, gemini_routes
from relay_trio.web.asgi import http_scope

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay


def add_routes(app: QuartTrio, core: Relay, ring: KeyRing) -> None:
    """Register both routes."""

    async def models(model_id: str = "") -> Response:
        if gemini_routes.is_meant(http_scope()):
            return await gemini_routes.relay_models(core, ring)
        return await claude_routes.relay_models(core, ring, model_id)

    for rule in ("/v1/models", "/v1/models/<path:model_id>"):
        app.add_url_rule(
            rule, endpoint=f"models {rule}", view_func=models, methods=["GET"], provide_automatic_options=False
        )
