"""How services list their models: read where an upstream lists those of its account, written where a client asks for
those of the pool.

An upstream lists everything that its account may use, and a pool has several accounts. So a client's list is not an
upstream's: it is made here, of what all accounts serve to that client's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from relay_trio.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay_trio.http import Headers

    Item = dict[str, Any]
    """One model as a service describes it."""


@dataclass(frozen=True, slots=True)
class ModelListing:
    """The list of one service, whose models are for the operation ``of``.

    An upstream has it at ``path``, with ``query`` and ``headers``; ``next_query`` is that of the page after
    ``page``, None after the last. ``member`` of a page has the items. ``names_of`` are an item's names, the one that a
    request uses first; ``new_item`` describes a model of which only the name is known. ``page`` is what a client gets
    that requests a list with a query: a part of the items.
    """

    of: str
    path: bytes
    query: bytes
    member: str
    names_of: Callable[[Item], Sequence[str]]
    new_item: Callable[[str], Item]
    next_query: Callable[[Item], bytes | None]
    page: Callable[[Sequence[Item], bytes], Item]
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def items_of(self, document: object) -> list[Item]:
        """The items of a page; empty where it has none."""
        items = document.get(self.member) if isinstance(document, dict) else None
        if not isinstance(items, list):
            return []
        return [
            item for item in items if isinstance(item, dict) and all(isinstance(n, str) for n in self.names_of(item))
        ]

    def request_headers(self) -> Headers:
        """The header fields of a request for a page."""
        return list(self.headers)


def parameter(query: bytes, name: str) -> str | None:
    """The first value of a parameter of ``query``; None where it has none, or an empty one."""
    return next(iter(parse_qs(query.decode("latin-1")).get(name, ())), None) if query else None


def page_size(query: bytes, name: str, *, usual: int, largest: int = 1000) -> int:
    """How many items a client requests at once.

    Raises:
        BadRequest: it is no number from 1 to ``largest``.
    """
    text = parameter(query, name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or not 1 <= int(text) <= largest:
        raise BadRequest(f"{name}: must be a number from 1 to {largest}")
    return int(text)


def place_of(names: Sequence[str], token: str, name: str) -> int:
    """Where in ``names`` the one is that the parameter ``name`` has as its value.

    Raises:
        BadRequest: nowhere.
    """
    if token not in names:
        raise BadRequest(f"{name}: is none of this list")
    return names.index(token)


def token_page(
    items: Sequence[Item], names: Sequence[str], query: bytes, *, size: str, token: str, usual: int
) -> tuple[list[Item], str | None]:
    """The items of one page, and the token of the next; None: it is the last. ``size`` and ``token`` are the parameters
    by which a client says how many it gets, and from where on.

    Raises:
        BadRequest: they have no such values.
    """
    count, last_seen = page_size(query, size, usual=usual), parameter(query, token)
    start = 0 if last_seen is None else place_of(names, last_seen, token) + 1
    end = start + count
    return list(items[start:end]), names[end - 1] if end < len(items) else None
