"""The catalogue in pages, and embeddings that repeat."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.gemini.errors import Refused
from relay_trio.simulator.vendors.gemini.models import embed, list_models, one_model
from relay_trio.simulator.vendors.gemini.requests import Target

NAMES = ("a", "b", "c-embedding")
GEMINI = Target("v1beta", "", "", "")
VERTEX = Target("v1beta1", "publishers/google/", "", "")


def listed(target: Target, query: bytes) -> dict[str, Any]:
    return list_models(target, NAMES, Request("GET", b"/v1beta/models?" + query, [], b"", True))


def test_pages_follow_one_another_by_token() -> None:
    first = listed(GEMINI, b"pageSize=2")
    second = listed(GEMINI, b"pageSize=2&pageToken=" + first["nextPageToken"].encode())
    names = [model["name"] for page in (first, second) for model in page["models"]]
    assert names == ["models/a", "models/b", "models/c-embedding"]
    assert "nextPageToken" not in second
    assert second["models"][0]["supportedGenerationMethods"] == ["embedContent"]
    with pytest.raises(Refused):
        listed(GEMINI, b"pageSize=many")


def test_vertex_lists_publishers_models() -> None:
    names = [model["name"] for model in listed(VERTEX, b"")["publisherModels"]]
    assert names == [f"publishers/google/models/{name}" for name in NAMES]


def test_a_model_keeps_the_spec_in_its_name() -> None:
    assert one_model(Target("v1", "", "a:chunks=3", ""))["name"] == "models/a:chunks=3"


def test_the_same_content_gives_the_same_values_of_the_size_asked_for() -> None:
    def one(text: str, **fields: Any) -> dict[str, Any]:
        return {"content": {"parts": [{"text": text}]}, **fields}

    embeddings, tokens = embed([one("two words"), one("two words"), one("other", outputDimensionality=7)])
    assert embeddings[0] == embeddings[1] != embeddings[2]
    assert [len(embedding["values"]) for embedding in embeddings] == [768, 768, 7]
    assert all(-1 <= value <= 1 for embedding in embeddings for value in embedding["values"])
    assert tokens == 11


@pytest.mark.parametrize(
    "requests", [[], [None], [{"content": {}}], [{"content": {"parts": [1]}, "output_dimensionality": 0}]]
)
def test_what_cannot_be_embedded_is_refused(requests: list[object]) -> None:
    with pytest.raises(Refused):
        embed(requests)
