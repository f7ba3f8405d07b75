"""The list of models that an upstream answers with, shortened to the models that the client can use here.

An upstream lists everything that its account may use. A client that chose from that list could get a model that no
account of the pool serves, or that its own key may not use. So the list, which is short, is held until it is whole, and
is passed on without those models.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.api.position import WHOLE
from relay_trio.errors import UpstreamProtocolError
from relay_trio.usage import NO_USAGE, UsageStats
from relay_trio.wire.json_members import JsonLimitError, MemberScanner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay_trio.errors import UpstreamError

_LARGEST_BYTES = 4 * 1024 * 1024
"""The longest list that is accepted. The longest known ones have a tenth of a megabyte."""


class ModelListFilter:
    """Passes one document on as it came, unless it lists models for which ``is_listed`` is false.

    ``lists`` maps the member of the document that is a list to the member of its items that is a model's name, such as
    ``{"data": "id"}``. Of a name with slashes, only what follows the last one counts.
    """

    is_error_forwarded = False
    position = WHOLE

    def __init__(self, lists: Mapping[str, str], is_listed: Callable[[str], bool]) -> None:
        self.error: UpstreamError | None = None
        self._lists = lists
        self._is_listed = is_listed
        self._held = bytearray()
        self._is_altered = True
        self._scanner = MemberScanner(frozenset(), max_tokens=None)

    @property
    def is_complete(self) -> bool:
        """Whether the document is whole."""
        return self._scanner.is_whole

    def feed(self, data: bytes) -> bytes:
        """Nothing until the document is whole; then the document, shortened or as it came."""
        if self._scanner.is_whole or self.error is not None:
            return b"" if self._is_altered else data
        self._held += data
        try:
            self._scanner.feed(data)
        except JsonLimitError:
            self.error = UpstreamProtocolError("the upstream's list of models is not acceptable JSON")
        if len(self._held) > _LARGEST_BYTES:
            self.error = UpstreamProtocolError("the upstream's list of models is too long")
        if not self._scanner.is_whole or self.error is not None:
            return b""
        return self._shortened(bytes(self._held))

    def finish(self) -> UsageStats:
        """No usage: a list costs nothing."""
        return NO_USAGE

    def _shortened(self, whole: bytes) -> bytes:
        try:
            document = json.loads(whole)
        except (ValueError, RecursionError):
            self.error = UpstreamProtocolError("the upstream's list of models is not JSON")
            return b""
        is_short = False
        for member, name in self._lists.items():
            items = document.get(member)
            if isinstance(items, list):
                kept = [item for item in items if self._is_kept(item, name)]
                is_short = is_short or len(kept) < len(items)
                document[member] = kept
        self._is_altered = is_short
        return json.dumps(document, indent=2, ensure_ascii=False).encode() if is_short else whole

    def _is_kept(self, item: object, name: str) -> bool:
        model = item.get(name) if isinstance(item, dict) else None
        return isinstance(model, str) and self._is_listed(model.rpartition("/")[2])
