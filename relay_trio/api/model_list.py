"""The list of models, shortened to those that can be asked for here.

An upstream lists everything its account may use. A client would choose from that, and be told that no account serves
it, or that its key may not use it. So the list is held until it is whole, which is short, and goes on without those.
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
"""The longest known lists have a tenth of a megabyte."""


class ModelListFilter:
    """Passes one document on as it came, unless it lists models that ``is_listed`` does not know.

    ``lists``: the member that is a list, and of its items the member that is the model's name, after the last slash.
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
        """Whether the document was whole."""
        return self._scanner.is_whole

    def feed(self, data: bytes) -> bytes:
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
        """A list costs nothing."""
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
        told = item.get(name) if isinstance(item, dict) else None
        return isinstance(told, str) and self._is_listed(told.rpartition("/")[2])
