"""Which models there are: what the upstreams of the pool list, kept for a while, and what is configured.

::

    list for a client = for each account that may serve it:   models that its upstream lists, and names in its settings
                        of these, those that the account serves and that the client's key allows

The upstreams' lists are fetched when a client requests one and what is known is old; all at the same time, once for all
who wait, and for a bounded time. A slow upstream holds nobody up longer, and a dead one is left alone for a while: then
what is known is the answer. A fetch takes no slot, because it is no call of a model, and blames no account.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.errors import RelayError, UpstreamError
from relay_trio.settings.patterns import is_match

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relay_trio.api.model_list import Item, ModelListing
    from relay_trio.outcome import Phase
    from relay_trio.pool.account import Account
    from relay_trio.pool.pool import Pool
    from relay_trio.upstream.client import UpstreamClient

_WAIT_SECONDS = 2.0
"""The longest that a client waits for upstreams: coding agents give a list of models 3 seconds."""

_FRESH_SECONDS = 300.0
_RETRY_SECONDS = 30.0
_PAGES = 10
_PAGE_BYTES = 1024 * 1024
"""The longest page that is read. The longest known ones have a tenth of it."""


@dataclass(eq=False, slots=True)
class _Known:
    """What is known of one account's models: items by the name of the operation that lists them."""

    account: Account
    items: dict[str, list[Item]] = field(default_factory=dict)
    due_at: float = 0.0
    fetching: trio.Lock = field(default_factory=trio.Lock)


class ModelCatalog:
    """``listings`` are the operations that list models, by name."""

    def __init__(self, pool: Pool, client: UpstreamClient, listings: Mapping[str, ModelListing]) -> None:
        self._pool = pool
        self._client = client
        self._listings = listings
        self._known: dict[str, _Known] = {}
        self.fetches = 0
        """Calls of upstreams for their lists, now: the only calls that no attempt makes."""

    async def items(self, operation: str, allowed: Sequence[str]) -> list[Item]:
        """What ``operation`` lists to a client that may use models which match ``allowed``.

        Cancelled here: atomic; what was being fetched is fetched again for the next.
        """
        listing = self._listings[operation]
        accounts = [
            each for each in self._pool.accounts if each.serves(None, listing.of) and not each.health.is_disabled
        ]
        await self._refresh(accounts)
        found: dict[str, Item] = {}
        for name, item in self._items_and_names(accounts, operation, listing):
            if is_match(name, allowed) and (item is not None or name not in found):
                found.setdefault(name, listing.new_item(name) if item is None else item)
        return list(found.values())

    async def item(self, operation: str, name: str, allowed: Sequence[str]) -> Item | None:
        """The item of the model ``name``; None where no list has it. Cancelled here: as ``items``."""
        listing = self._listings[operation]
        items = await self.items(operation, allowed)
        return next((item for item in items if name in listing.names_of(item)), None)

    def _items_and_names(
        self, accounts: Sequence[Account], operation: str, listing: ModelListing
    ) -> Iterator[tuple[str, Item | None]]:
        """Pairs of name and item; first those of the services that list them as ``operation`` does, then the names
        alone that others list, and those in the settings. Of a default the upstream's own list knows more."""
        for account in accounts:
            for item in self._known[account.name].items.get(operation, ()):
                name = listing.names_of(item)[0]
                if account.serves(name, listing.of):
                    yield name, item
        for account in accounts:
            for other, items in self._known[account.name].items.items():
                for item in () if other == operation else items:
                    name = self._listings[other].names_of(item)[0]
                    if account.serves(name, listing.of):
                        yield name, None
            has_own_list = operation in self._known[account.name].items
            for pattern in account.patterns(listing.of):
                is_name = not any(character in pattern for character in "*?[")
                if is_name and not (has_own_list and pattern in account.settings.default_models()):
                    yield pattern, None

    async def _refresh(self, accounts: Sequence[Account]) -> None:
        """Fetch what is old, for a bounded time. Cancelled here: as ``items``."""
        names = {account.name for account in self._pool.accounts}
        self._known = {name: known for name, known in self._known.items() if name in names}
        for account in accounts:
            known = self._known.get(account.name)
            if known is None or known.account is not account:
                self._known[account.name] = _Known(account)
        due = [known for account in accounts if _is_due(known := self._known[account.name])]
        if not due:
            return
        with trio.move_on_after(_WAIT_SECONDS) as scope:
            async with trio.open_nursery() as nursery:
                for known in due:
                    nursery.start_soon(self._fetch, known)
        if scope.cancelled_caught:
            for known in filter(_is_due, due):
                known.due_at = trio.current_time() + _RETRY_SECONDS

    async def _fetch(self, known: _Known) -> None:
        """Cancelled here: atomic."""
        async with known.fetching:
            if not _is_due(known):
                return
            seconds = _FRESH_SECONDS
            for operation, listing in self._listings.items():
                if operation in known.account.provider.calls:
                    try:
                        known.items[operation] = await self._list(known.account, operation, listing)
                    except (RelayError, ValueError, RecursionError):
                        seconds = _RETRY_SECONDS
            known.due_at = trio.current_time() + seconds

    async def _list(self, account: Account, operation: str, listing: ModelListing) -> list[Item]:
        """All pages of one account's list.

        Raises:
            RelayError: the upstream did not answer with them.
            ValueError: one of them is not JSON.

        Cancelled here: atomic; the connection is closed.
        """
        items: list[Item] = []
        query = listing.query
        for _ in range(_PAGES):
            page = await self._page(account, operation, listing, query)
            items += listing.items_of(page)
            following = listing.next_query(page)
            if following is None:
                break
            query = following
        return items

    async def _page(self, account: Account, operation: str, listing: ModelListing, query: bytes) -> dict[str, Any]:
        """Cancelled here: atomic; the connection is closed."""
        checked = CheckedRequest(operation, "GET", listing.path, query, listing.request_headers(), b"")
        request = await account.build(checked)
        received = bytearray()
        self.fetches += 1
        try:
            async with self._client.open(request, _ignore) as response:
                if response.head.status != 200:
                    raise UpstreamError(f"the upstream answered {response.head.status}")
                while data := await response.receive_some():
                    received += data
                    if len(received) > _PAGE_BYTES:
                        raise UpstreamError("the upstream's list of models is too long")
        finally:
            self.fetches -= 1
        page = json.loads(received)
        if not isinstance(page, dict):
            raise UpstreamError("the upstream's list of models is no object")
        return page


def _is_due(known: _Known) -> bool:
    return trio.current_time() >= known.due_at


def _ignore(phase: Phase) -> None:
    """A fetch is no attempt of a request: nobody asks how far it came."""
