"""What reads an answer while it passes: its usage, its end, its errors, and the translation where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay_trio.api.position import WHOLE
from relay_trio.usage import NO_USAGE

if TYPE_CHECKING:
    from relay_trio.api.position import Position
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats


class AnswerReader(Protocol):
    """Reads one answer while it passes. A reader never raises and never delays.

    Where client and upstream speak the same dialect, a reader alters nothing; where they do not, it translates.
    """

    is_error_forwarded: bool
    """Whether the bytes that the client is sent hold the upstream's own error, once ``error`` is set. Where they do
    not, nothing comes out of the reader after the error, and the dialect's closing event follows."""

    def feed(self, data: bytes) -> bytes:
        """What the client is sent for ``data``, the next bytes of the body, which may be cut anywhere.

        That is ``data`` itself, or its translation, which may be empty until more has come.
        """

    def finish(self) -> UsageStats:
        """The usage in what was read so far. It may be called at any time, more than once."""

    @property
    def is_complete(self) -> bool:
        """Whether the dialect's own last event was read. An answer without such an event is always complete."""

    @property
    def error(self) -> UpstreamError | None:
        """The error that the upstream reported inside its stream, or None."""

    @property
    def position(self) -> Position:
        """Where the answer stands after the bytes that came out of ``feed``."""


class NullReader:
    """The reader of answers without tokens: model lists, token counts, batch records."""

    is_error_forwarded = True
    is_complete = True
    error: UpstreamError | None = None
    position = WHOLE

    def feed(self, data: bytes) -> bytes:
        """``data``, which is not looked at."""
        return data

    def finish(self) -> UsageStats:
        """No usage."""
        return NO_USAGE
