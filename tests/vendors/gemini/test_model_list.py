"""Google's two lists of models."""

from __future__ import annotations

import pytest

from relay_trio.vendors.gemini.operations import MODELS, PUBLISHER_MODELS

GEMINI, VERTEX = MODELS.lists, PUBLISHER_MODELS.lists
assert GEMINI is not None
assert VERTEX is not None


def test_a_page_has_a_token_unless_it_is_the_last() -> None:
    items = [GEMINI.new_item(name) for name in ("a", "b", "c")]
    first = GEMINI.page(items, b"pageSize=2")
    assert first == {"models": items[:2], "nextPageToken": "b"}
    assert GEMINI.page(items, b"pageSize=2&pageToken=b") == {"models": items[2:]}


def test_each_service_has_its_own_names_for_the_same() -> None:
    assert GEMINI.new_item("a")["name"] == "models/a"
    assert VERTEX.new_item("a")["name"] == "publishers/google/models/a"
    assert GEMINI.names_of(GEMINI.new_item("a")) == VERTEX.names_of(VERTEX.new_item("a")) == ("a",)
    assert "publisherModels" in VERTEX.page([], b"")


@pytest.mark.parametrize(
    ("token", "query"), [("x/y", b"pageSize=1000&pageToken=x%2Fy"), ("", None), (None, None), (1, None)]
)
def test_the_next_page_is_requested_where_there_is_one(token: object, query: bytes | None) -> None:
    assert GEMINI.next_query({"nextPageToken": token}) == query


@pytest.mark.parametrize("document", [None, {"models": [1, {}, {"name": 2}]}])
def test_what_is_no_list_has_no_items(document: object) -> None:
    assert GEMINI.items_of(document) == []
