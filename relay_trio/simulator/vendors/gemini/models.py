"""Gemini's catalogue of models, and embeddings: what a model does besides generating."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from relay_trio.simulator.vendors.gemini.errors import Refused
from relay_trio.simulator.vendors.gemini.requests import count_tokens, get

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.simulator.request import Request
    from relay_trio.simulator.vendors.gemini.requests import Target

_PAGE_SIZE = 50
_DIMENSIONS = 768
_LARGEST_DIMENSIONS = 3072


def one_model(target: Target) -> dict[str, Any]:
    """The model that ``target`` names, with the spec that its name carries, so that it can be used as listed."""
    return _model(target, target.model)


def list_models(target: Target, names: Sequence[str], request: Request) -> dict[str, Any]:
    """A page of the catalogue; the token is the number of the next page's first model.

    Raises:
        Refused: the page's size or token is not a number.
    """
    query = parse_qs(request.query.decode("latin-1"))
    size, start = query.get("pageSize", [str(_PAGE_SIZE)])[0], query.get("pageToken", ["0"])[0]
    if not size.isdecimal() or not start.isdecimal():
        raise Refused("Invalid page size or page token.")
    end = int(start) + (int(size) or _PAGE_SIZE)
    page = [_model(target, name) for name in names[int(start) : end]]
    document: dict[str, Any] = {"publisherModels" if target.is_vertex else "models": page}
    if end < len(names):
        document["nextPageToken"] = str(end)
    return document


def _model(target: Target, name: str) -> dict[str, Any]:
    if target.is_vertex:
        return {"name": f"publishers/google/models/{name}", "versionId": "001", "launchStage": "GA"}
    verbs = ["generateContent", "countTokens"]
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "A simulated model.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["embedContent"] if "embedding" in name else verbs,
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
    }


# --- embeddings ---------------------------------------------------------------------------------------------------


def embed(requests: Sequence[object]) -> tuple[list[dict[str, Any]], int]:
    """An embedding for each ``EmbedContentRequest``, and the tokens of all. The same content gives the same values.

    Raises:
        Refused: there is no content, or the size is not one that there is.
    """
    if not requests:
        raise Refused("* BatchEmbedContentsRequest.requests: at least one request is required\n")
    embeddings, tokens = [], 0
    for request in requests:
        content = get(request, "content")
        if not isinstance(content, dict) or not content.get("parts"):
            raise Refused("* EmbedContentRequest.content: contents is not specified\n")
        size = get(request, "outputDimensionality")
        if size is None:
            size = get(get(request, "embedContentConfig"), "outputDimensionality")
        size = _DIMENSIONS if size is None else size
        if not isinstance(size, int) or not 1 <= size <= _LARGEST_DIMENSIONS:
            raise Refused(f"* EmbedContentRequest.output_dimensionality: from 1 to {_LARGEST_DIMENSIONS}\n")
        embeddings.append({"values": _values(repr(content["parts"]), size)})
        tokens += count_tokens({"contents": [content]})
    return embeddings, tokens


def _values(text: str, size: int) -> list[float]:
    seed = hashlib.sha256(text.encode()).digest()
    return [(byte - 128) / 1024 for byte in itertools.islice(itertools.cycle(seed), size)]
