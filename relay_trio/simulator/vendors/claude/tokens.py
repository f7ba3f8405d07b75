"""Claude's input tokens as a settled function of the request, and the prompt cache.

A token is a word: text between white space, in every string that the model would read. The rule is nobody's real one;
what matters is that ``count_tokens``, the stream and the ledger can be compared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.text import count_words

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKENS_PER_BLOCK = 3
_CACHE_ENTRIES = 10_000
"""Prefixes remembered; the oldest go first. A storm of distinct prompts must not grow the process."""


@dataclass(frozen=True, slots=True)
class InputTokens:
    """The request's tokens: outside the cache, written to it, read from it."""

    uncached: int
    created: int
    read: int

    @property
    def total(self) -> int:
        return self.uncached + self.created + self.read


class PromptCache:
    """Prefixes seen, per account and model: an account reads what it wrote itself."""

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}

    def count(self, document: dict[str, Any], account: str) -> InputTokens:
        """Count ``document``'s tokens; what it marks with ``cache_control`` is remembered for the next time."""
        total = prefix_tokens = 0
        has_prefix = False
        marker = hashlib.sha256(f"{account}\0{document.get('model')}".encode())
        prefix_key = b""
        uses_cache = _mentions_cache(document)
        for block in _blocks(document):
            total += count_words(block) + _TOKENS_PER_BLOCK
            if not uses_cache:
                continue
            marker.update(json.dumps(block, sort_keys=True).encode())
            if isinstance(block, dict) and block.get("cache_control"):
                has_prefix, prefix_tokens, prefix_key = True, total, marker.digest()
        if not has_prefix:
            return InputTokens(total, 0, 0)
        if prefix_key in self._seen:
            return InputTokens(total - prefix_tokens, 0, prefix_tokens)
        self._seen[prefix_key] = None
        if len(self._seen) > _CACHE_ENTRIES:
            del self._seen[next(iter(self._seen))]
        return InputTokens(total - prefix_tokens, prefix_tokens, 0)


def count_tokens(document: dict[str, Any]) -> int:
    """All input tokens of ``document``, as ``count_tokens`` answers."""
    return sum(count_words(block) + _TOKENS_PER_BLOCK for block in _blocks(document))


def _blocks(document: dict[str, Any]) -> Iterator[Any]:
    """In the order in which the cache sees them: tools, system, messages."""
    yield from _as_list(document.get("tools"))
    yield from _as_list(document.get("system"))
    for message in _as_list(document.get("messages")):
        yield from _as_list(message.get("content") if isinstance(message, dict) else message)


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _mentions_cache(document: dict[str, Any]) -> bool:
    return any(isinstance(block, dict) and "cache_control" in block for block in _blocks(document))
