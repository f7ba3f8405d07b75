"""The routes of the Gemini API, and of Gemini on Vertex AI: one dialect, whichever service a client believes to be at.

What is asked stands at the end of the path, after a colon; the model before it may be written with escapes. The list
of models at ``/v1`` is Claude's too, and is in ``model_routes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import request

from relay_trio.errors import MethodNotAllowed, NotFound
from relay_trio.vendors.gemini.dialect import GeminiDialect
from relay_trio.vendors.gemini.operations import (
    BATCH_EMBED,
    COUNT_TOKENS,
    EMBED,
    GENERATE,
    MODELS,
    PUBLISHER_MODELS,
    STREAM,
)
from relay_trio.vendors.gemini.paths import VERBS, forwarded_query, keys_in, parse_path
from relay_trio.web.answers import relay
from relay_trio.web.asgi import http_scope
from relay_trio.web.auth import authenticate

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope
    from quart import Response
    from quart_trio import QuartTrio

    from relay_trio.keys.client_key import ClientKey
    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.asked import BodyProof
    from relay_trio.relay.core import Relay

DIALECT = GeminiDialect()

_OPERATIONS = {
    "generateContent": GENERATE,
    "streamGenerateContent": STREAM,
    "countTokens": COUNT_TOKENS,
    "embedContent": EMBED,
    "batchEmbedContents": BATCH_EMBED,
}
assert _OPERATIONS.keys() == VERBS

_OURS = ("/v1beta/", "/v1beta1/", "/v1alpha/", "/v1/projects/", "/v1/publishers/")
_COLLIDING = "/v1/models"

_PLACES = (
    "/<any(v1, v1beta, v1alpha):version>/models",
    "/<any(v1, v1beta1):version>/publishers/google/models",
    "/<any(v1, v1beta1):version>/projects/<project>/locations/<location>/publishers/google/models",
)


def is_meant(scope: HTTPScope) -> bool:
    """Whether a client speaks this dialect: by its path, else by how it shows its key (PROTOCOLS: ``/v1/models`` is
    claimed by three APIs)."""
    path = scope["path"]
    if path.startswith(_OURS):
        return True
    if path.startswith(_COLLIDING) and (":" in path or keys_in(scope["query_string"])):
        return True
    return any(name == b"x-goog-api-key" for name, _ in scope["headers"])


def add_routes(app: QuartTrio, core: Relay, ring: KeyRing) -> None:
    """Register every route but those that ``model_routes`` has."""

    async def ask(**parts: str) -> Response:
        return await relay_verb(core, ring)

    async def look(**parts: str) -> Response:
        return await relay_models(core, ring)

    for number, place in enumerate(_PLACES):
        app.add_url_rule(
            f"{place}/<path:call>",
            endpoint=f"gemini POST {number}",
            view_func=ask,
            methods=["POST"],
            provide_automatic_options=False,
        )
        versions = place.replace("v1, v1beta, v1alpha", "v1beta, v1alpha")
        for what in ("", "/<path:model>"):
            app.add_url_rule(
                f"{versions}{what}",
                endpoint=f"gemini GET {number}{what}",
                view_func=look,
                methods=["GET"],
                provide_automatic_options=False,
            )


async def relay_verb(core: Relay, ring: KeyRing) -> Response:
    """What is asked of a model.

    Raises:
        NotFound, BadRequest: the path or the query is none that is relayed.

    Cancelled here: as ``relay``.
    """
    scope = http_scope()
    path = parse_path(scope["raw_path"])
    if path is None or not path.verb or "/" in path.model_name:
        raise NotFound(f"no such route: a model and one of {', '.join(sorted(VERBS))} were expected")
    query = forwarded_query(scope["query_string"])
    parameters = {"model": path.model_name}
    return await relay(core, ring, DIALECT, _OPERATIONS[path.verb], parameters, query=query, identify=_identify)


async def relay_models(core: Relay, ring: KeyRing) -> Response:
    """The list of models, or one of them.

    Raises:
        NotFound, MethodNotAllowed, BadRequest: the path or the query is none that is relayed.

    Cancelled here: as ``relay``.
    """
    scope = http_scope()
    path = parse_path(scope["raw_path"])
    if path is None or "/" in path.model_name:
        raise NotFound("no such route: the name of a model was expected")
    if path.verb:
        raise MethodNotAllowed(f"{request.path[:100]} does not answer {request.method}")
    query = forwarded_query(scope["query_string"])
    parameters = {"model": path.model_name} if path.model else {}
    operation = PUBLISHER_MODELS if path.is_vertex else MODELS
    return await relay(core, ring, DIALECT, operation, parameters, query=query, identify=_identify)


async def _identify(ring: KeyRing, scope: HTTPScope) -> tuple[ClientKey, BodyProof | None]:
    return await authenticate(ring, list(scope["headers"]), keys_in(scope["query_string"])), None
