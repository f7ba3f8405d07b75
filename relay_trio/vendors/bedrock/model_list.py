"""The list of inference profiles of Bedrock's control plane (API reference, "ListInferenceProfiles")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.api.model_list import ModelListing, parameter, token_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.model_list import Item

_MEMBER = "inferenceProfileSummaries"
_USUAL_PAGE = 1000


def listing_of(operation: str) -> ModelListing:
    """The list of the inference profiles that ``operation`` can name."""
    return ModelListing(
        operation,
        b"/inference-profiles",
        b"maxResults=1000",
        _MEMBER,
        _names_of,
        _new_item,
        _next_query,
        _page,
    )


def _names_of(item: Item) -> Sequence[str]:
    """A profile of AWS's own is named by its id, one that a customer has made by its ARN."""
    names = (item.get("inferenceProfileId"), item.get("inferenceProfileArn"))
    return names[::-1] if item.get("type") == "APPLICATION" else names  # type: ignore[return-value]  # as items_of


def _new_item(name: str) -> Item:
    return {
        "inferenceProfileId": name,
        "inferenceProfileArn": name,
        "inferenceProfileName": name,
        "models": [],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _next_query(document: Item) -> bytes | None:
    token = document.get("nextToken")
    return b"maxResults=1000&nextToken=" + quote(token, safe="").encode() if isinstance(token, str) and token else None


def _page(items: Sequence[Item], query: bytes) -> Item:
    kind = parameter(query, "type")
    kept = [item for item in items if kind is None or item.get("type") == kind]
    names = [_names_of(item)[0] for item in kept]
    shown, token = token_page(kept, names, query, size="maxResults", token="nextToken", usual=_USUAL_PAGE)
    return {_MEMBER: shown} if token is None else {_MEMBER: shown, "nextToken": token}
