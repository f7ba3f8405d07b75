"""A client's request after authentication and the checks of its shape: what a call makes its upstream's request of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.http import Headers


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A client's request after authentication and the checks of its shape.

    ``operation`` is the operation's name, such as ``claude.messages``: one path has many spellings. ``raw_path`` and
    ``query`` are the bytes of the request line, with their escapes.
    """

    operation: str
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: bytes
    model: str | None = None
    is_stream: bool = False
