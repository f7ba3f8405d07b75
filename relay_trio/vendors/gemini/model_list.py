"""The lists of models of the Gemini API and of Vertex AI, which differ in the names of what they have."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.api.model_list import ModelListing, token_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.model_list import Item

_USUAL_PAGE = 50
_METHODS = ["generateContent", "countTokens"]


def listing_of(operation: str, path: str, *, member: str, prefix: str) -> ModelListing:
    """The list at ``path`` of the models that ``operation`` can name. ``member`` of it has the items, whose names begin
    with ``prefix``."""
    return ModelListing(
        operation,
        path.encode(),
        b"pageSize=1000",
        member,
        _names_of,
        partial(_new_item, prefix),
        _next_query,
        partial(_page, member),
    )


def _names_of(item: Item) -> Sequence[str]:
    name = item.get("name")
    return (name.rpartition("/")[2] if isinstance(name, str) else name,)  # type: ignore[return-value]  # as items_of


def _new_item(prefix: str, name: str) -> Item:
    return {"name": prefix + name, "displayName": name, "supportedGenerationMethods": _METHODS}


def _next_query(document: Item) -> bytes | None:
    token = document.get("nextPageToken")
    return b"pageSize=1000&pageToken=" + quote(token, safe="").encode() if isinstance(token, str) and token else None


def _page(member: str, items: Sequence[Item], query: bytes) -> Item:
    names = [_names_of(item)[0] for item in items]
    shown, token = token_page(items, names, query, size="pageSize", token="pageToken", usual=_USUAL_PAGE)
    return {member: shown} if token is None else {member: shown, "nextPageToken": token}
