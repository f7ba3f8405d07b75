"""What clients of the Gemini API can request, and those of Gemini on Vertex AI: one dialect, two address books.

What a model is to do stands at the end of the path, after a colon. The two services list models in two formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.operation import Operation, Reading, model_of_path, nothing, stream_of_path

if TYPE_CHECKING:
    from relay_trio.api.operation import Parameters, Read
    from relay_trio.http import ClientHead

_AT_GEMINI = ("/v1/models", "/v1beta/models", "/v1alpha/models")
_AT_VERTEX = tuple(
    f"/{version}/{scope}publishers/google/models"
    for version in ("v1", "v1beta1")
    for scope in ("", "projects/{project}/locations/{location}/")
)


def one_or_all(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    """A request for one model, or for the list of them.

    Raises:
        BadRequest: the path has something else than a model's name in its place.
    """
    return (model_of_path if "model" in parameters else nothing)(head, parameters, document)


def _of_model(name: str, verb: str, read: Read = model_of_path) -> Operation:
    routes = tuple(("POST", f"{place}/{{model}}:{verb}") for place in (*_AT_GEMINI, *_AT_VERTEX))
    return Operation(name, routes, read, is_json=True)


def _list(name: str, places: tuple[str, ...]) -> Operation:
    routes = tuple(("GET", place + what) for place in places for what in ("", "/{model...}"))
    return Operation(name, routes, one_or_all, lists=GENERATE.name)


GENERATE = _of_model("gemini.generate", "generateContent")
STREAM = _of_model("gemini.stream", "streamGenerateContent", stream_of_path)
COUNT_TOKENS = _of_model("gemini.count_tokens", "countTokens")
EMBED = _of_model("gemini.embed", "embedContent")
BATCH_EMBED = _of_model("gemini.batch_embed", "batchEmbedContents")
MODELS = _list("gemini.models", _AT_GEMINI)
PUBLISHER_MODELS = _list("gemini.publisher_models", _AT_VERTEX)

OPERATIONS: tuple[Operation, ...] = (GENERATE, STREAM, COUNT_TOKENS, EMBED, BATCH_EMBED, MODELS, PUBLISHER_MODELS)
