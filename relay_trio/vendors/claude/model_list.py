"""The list of models of Anthropic's API (API reference, "List Models")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.api.model_list import ModelListing, page_size, parameter, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.model_list import Item

_USUAL_LIMIT = 20


def listing_of(operation: str) -> ModelListing:
    """The list of the models that ``operation`` can name."""
    return ModelListing(
        operation,
        b"/v1/models",
        b"limit=1000",
        "data",
        lambda item: (item.get("id"),),  # type: ignore[arg-type,return-value]  # items_of sees to it
        _new_item,
        _next_query,
        _page,
        headers=((b"anthropic-version", b"2023-06-01"),),
    )


def _new_item(name: str) -> Item:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _next_query(document: Item) -> bytes | None:
    last = document.get("last_id")
    if document.get("has_more") is not True or not isinstance(last, str):
        return None
    return b"limit=1000&after_id=" + quote(last, safe="").encode()


def _page(items: Sequence[Item], query: bytes) -> Item:
    limit = page_size(query, "limit", usual=_USUAL_LIMIT)
    ids = [item["id"] for item in items]
    after, before = parameter(query, "after_id"), parameter(query, "before_id")
    if before is not None:
        end = place_of(ids, before, "before_id")
        start = max(end - limit, 0)
        has_more = start > 0
    else:
        start = 0 if after is None else place_of(ids, after, "after_id") + 1
        end = start + limit
        has_more = end < len(ids)
    shown = ids[start:end]
    first, last = (shown[0], shown[-1]) if shown else (None, None)
    return {"data": list(items[start:end]), "has_more": has_more, "first_id": first, "last_id": last}
