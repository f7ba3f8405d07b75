"""What travels from the upstream reader to the client's body, and the token record a stream ends with.

The channel's own end means nothing. A stream that ended well sends ``Usage`` last; one that failed sends ``Error``;
a channel that closes with neither was cut, and the client must not take it for complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.errors import RelayError
    from relay_trio.usage import UsageStats


@dataclass(frozen=True, slots=True)
class Data:
    """Body bytes, exactly as they came from the upstream."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """The explicit good end of a stream."""

    stats: UsageStats


@dataclass(frozen=True, slots=True)
class Error:
    """The explicit bad end of a stream.

    ``last_words`` are the dialect's own way of saying so inside the stream, for the client to get last. ``is_told``
    when the upstream's own error event already went out, so that the stream may end as the upstream ended it.
    """

    error: RelayError
    last_words: bytes = b""
    is_told: bool = False


Chunk = Data | Usage | Error
