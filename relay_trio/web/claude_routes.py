"""The routes of the Messages API, as both generations of its clients call them. The list of models, whose path is not
Claude's alone, is in ``model_routes``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relay_trio.errors import NotFound
from relay_trio.vendors.claude import provider as claude
from relay_trio.vendors.claude.operations import MODELS, OPERATIONS
from relay_trio.web.answers import relay

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

    from relay_trio.api.operation import Operation
    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.core import Relay

DIALECT = claude.ClaudeDialect()

_VARIABLE = re.compile(r"{([a-z]+)(\.\.\.)?}")


def _refuse_climbing(*parts: str) -> None:
    """Raise NotFound if a decoded part of the path, forwarded as it came, could lead an upstream to another resource.

    The account's credential goes with it, so ``/v1/models/../files`` must not.
    """
    if any(step in (".", "..") for part in parts for step in part.replace("\\", "/").split("/")):
        raise NotFound("no such route: an id must not hold a path")


def add_routes(app: QuartTrio, core: Relay, ring: KeyRing) -> None:
    """Register every route. The view's arguments are ignored: the path goes upstream as it came."""
    routes = [(each, *route) for each in OPERATIONS if each is not MODELS for route in each.routes]
    for operation, method, template in routes:
        rule = _VARIABLE.sub(r"<\1>", template)

        async def view(_operation: Operation = operation, **parts: str) -> Response:
            _refuse_climbing(*parts.values())
            return await relay(core, ring, DIALECT, _operation, parts)

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
    return await relay(core, ring, DIALECT, MODELS, {})
