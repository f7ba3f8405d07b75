"""The routes of the Messages API, as both generations of its clients call them. The list of models, whose path is not
Claude's alone, is in ``model_routes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.errors import NotFound
from relay_trio.relay.asked import Route
from relay_trio.vendors.claude import provider as claude
from relay_trio.web.answers import relay

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay

DIALECT = claude.ClaudeDialect()

MESSAGES = Route(claude.MESSAGES, DIALECT, needs_model=True)
COUNT_TOKENS = Route(claude.COUNT_TOKENS, DIALECT, needs_model=True)
MODELS = Route(claude.MODELS, DIALECT, lists=claude.MESSAGES)
BATCHES = Route(claude.BATCHES, DIALECT, is_pinned=True)

_ROUTES = (
    ("POST", "/v1/messages", MESSAGES),
    ("POST", "/v1/messages/count_tokens", COUNT_TOKENS),
    ("POST", "/v1/messages/batches", BATCHES),
    ("GET", "/v1/messages/batches", BATCHES),
    ("GET", "/v1/messages/batches/<batch_id>", BATCHES),
    ("DELETE", "/v1/messages/batches/<batch_id>", BATCHES),
    ("POST", "/v1/messages/batches/<batch_id>/cancel", BATCHES),
    ("GET", "/v1/messages/batches/<batch_id>/results", BATCHES),
)


def _refuse_climbing(*parts: str) -> None:
    """Raise NotFound if a decoded part of the path, forwarded as it came, could lead an upstream to another resource.

    The account's credential goes with it, so ``/v1/models/../files`` must not.
    """
    if any(step in (".", "..") for part in parts for step in part.replace("\\", "/").split("/")):
        raise NotFound("no such route: an id must not hold a path")


def add_routes(app: QuartTrio, core: Relay, ring: KeyRing) -> None:
    """Register every route. The view's arguments are ignored: the path goes upstream as it came."""
    for method, rule, route in _ROUTES:

        async def view(_route: Route = route, **parts: str) -> Response:
            _refuse_climbing(*parts.values())
            return await relay(core, ring, _route)

        app.add_url_rule(
            rule, endpoint=f"claude {method} {rule}", view_func=view, methods=[method], provide_automatic_options=False
        )


async def relay_models(core: Relay, ring: KeyRing, model_id: str) -> Response:
    """The list of models, or the one with ``model_id`` if that is not empty.

    Raises:
        NotFound: the id is a path.

    Cancelled here: as ``relay``.
    """
    _refuse_climbing(model_id)
    return await relay(core, ring, MODELS)
