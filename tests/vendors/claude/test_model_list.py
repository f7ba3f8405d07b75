"""Anthropic's list of models: read by pages, written by pages."""

from __future__ import annotations

from typing import Any

import pytest

from relay_trio.errors import BadRequest
from relay_trio.vendors.claude.model_list import listing_of

LISTING = listing_of("claude.messages")
ITEMS = [LISTING.new_item(name) for name in ("a", "b", "c", "d")]


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        (b"", "abcd", False),
        (b"limit=1000", "abcd", False),
        (b"limit=3", "abc", True),
        (b"limit=2&after_id=a", "bc", True),
        (b"limit=2&after_id=b", "cd", False),
        (b"after_id=d", "", False),
        (b"limit=2&before_id=d", "bc", True),
        (b"before_id=c", "ab", False),
    ],
)
def test_a_page_has_its_own_ends(query: bytes, ids: str, has_more: bool) -> None:
    page = LISTING.page(ITEMS, query)
    assert [item["id"] for item in page["data"]] == list(ids)
    assert page["has_more"] is has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize("query", [b"limit=0", b"after_id=x", b"before_id=x"])
def test_what_is_no_page_is_refused(query: bytes) -> None:
    with pytest.raises(BadRequest):
        LISTING.page(ITEMS, query)


@pytest.mark.parametrize(
    ("document", "query"),
    [
        ({"has_more": True, "last_id": "a/b"}, b"limit=1000&after_id=a%2Fb"),
        ({"has_more": False, "last_id": "a"}, None),
        ({"has_more": True}, None),
        ({}, None),
    ],
)
def test_the_next_page_is_requested_where_there_is_one(document: dict[str, Any], query: bytes | None) -> None:
    assert LISTING.next_query(document) == query


def test_a_model_of_which_only_the_name_is_known_has_what_clients_read() -> None:
    assert ITEMS[0].items() >= {"type": "model", "id": "a", "display_name": "a"}.items()
    assert LISTING.names_of(ITEMS[0]) == ("a",)


@pytest.mark.parametrize("document", [None, [], {}, {"data": 1}, {"data": [1, {}, {"id": 2}]}])
def test_what_is_no_list_has_no_items(document: object) -> None:
    assert LISTING.items_of(document) == []
