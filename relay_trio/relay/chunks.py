"""What travels from the pump to the response body of the client.

The end of the channel means nothing by itself. A stream that ended well sends ``StreamDone`` last; one that failed
sends ``StreamFailed``; a channel that closes with neither was cut, and the client must not take it for complete.
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
class StreamDone:
    """The explicit good end of a stream."""

    usage: UsageStats


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """The explicit bad end of a stream.

    ``closing_event`` is what the dialect has for an error inside a stream; the client gets it last.
    ``is_error_forwarded`` when the upstream's own error event already went out: then the stream ends as the upstream
    ended it.
    """

    error: RelayError
    closing_event: bytes = b""
    is_error_forwarded: bool = False


Chunk = Data | StreamDone | StreamFailed
