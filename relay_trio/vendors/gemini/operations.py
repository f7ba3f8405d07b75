"""What clients of the Gemini API can request, and those of Gemini on Vertex AI: one dialect, two address books.

What a model is to do stands at the end of the path, after a colon. The two services list models in two formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.api.operation import Operation, model_of_path, one_or_all, stream_of_path
from relay_trio.vendors.gemini.model_list import listing_of

if TYPE_CHECKING:
    from relay_trio.api.model_list import ModelListing
    from relay_trio.api.operation import Read

_AT_GEMINI = ("/v1/models", "/v1beta/models", "/v1alpha/models")
_AT_VERTEX = tuple(
    f"/{version}/{scope}publishers/google/models"
    for version in ("v1", "v1beta1")
    for scope in ("", "projects/{project}/locations/{location}/")
)


def _of_model(name: str, verb: str, read: Read = model_of_path) -> Operation:
    routes = tuple(("POST", f"{place}/{{model}}:{verb}") for place in (*_AT_GEMINI, *_AT_VERTEX))
    return Operation(name, routes, read, is_json=True)


def _list(name: str, places: tuple[str, ...], listing: ModelListing) -> Operation:
    routes = tuple(("GET", place + what) for place in places for what in ("", "/{model...}"))
    return Operation(name, routes, one_or_all, lists=listing)


GENERATE = _of_model("gemini.generate", "generateContent")
STREAM = _of_model("gemini.stream", "streamGenerateContent", stream_of_path)
COUNT_TOKENS = _of_model("gemini.count_tokens", "countTokens")
EMBED = _of_model("gemini.embed", "embedContent")
BATCH_EMBED = _of_model("gemini.batch_embed", "batchEmbedContents")
MODELS = _list(
    "gemini.models", _AT_GEMINI, listing_of(GENERATE.name, "/v1beta/models", member="models", prefix="models/")
)
PUBLISHER_MODELS = _list(
    "gemini.publisher_models",
    _AT_VERTEX,
    listing_of(
        GENERATE.name,
        "/v1beta1/publishers/google/models",
        member="publisherModels",
        prefix="publishers/google/models/",
    ),
)

OPERATIONS: tuple[Operation, ...] = (GENERATE, STREAM, COUNT_TOKENS, EMBED, BATCH_EMBED, MODELS, PUBLISHER_MODELS)
