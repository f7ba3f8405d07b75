"""What a client asked, after authentication and the checks of its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.http import Headers


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A client's request after authentication and the structural checks.

    ``operation`` is the name of the route, which is what the request means: one path has many spellings. ``raw_path``
    and ``query`` are the bytes of the request line, escapes untouched. Of an answer that lists models, only those that
    ``is_listed`` are for the client.
    """

    operation: str
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: bytes
    model: str | None = None
    is_stream: bool = False
    is_listed: Callable[[str], bool] | None = None
