"""What reads an answer while it passes: its usage, its end, its errors, and the translation where there is one."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from relay_trio.api.position import WHOLE
from relay_trio.errors import UpstreamProtocolError
from relay_trio.usage import NO_USAGE

if TYPE_CHECKING:
    from relay_trio.api.position import Position
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats


class Ending(Enum):
    """Whether an answer has come to the end of its dialect, which may be before the end of its body."""

    OPEN = auto()  # more is to come
    DUE = auto()  # it may end here, and more may follow: the end of the body is awaited, for a moment
    FINAL = auto()  # its last event was read, and nothing can follow


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
    def has_begun(self) -> bool:
        """Whether more was read than pings and comments: at least a part of an event, or of a document."""

    @property
    def has_substance(self) -> bool:
        """Whether what was read shows that the upstream answers: an event that is neither a ping nor an error, or more
        of a document than an error would have. A document that is small shows it only when it is whole
        (``is_complete``)."""

    @property
    def ending(self) -> Ending:
        """Whether the answer has come to its end. It is looked at after every read: it costs little."""

    @property
    def is_complete(self) -> bool:
        """Whether an answer that ends here is a whole one: the dialect's own last event was read, or the whole of a
        document."""

    @property
    def error(self) -> UpstreamError | None:
        """The error that the upstream reported inside its answer, or None."""

    @property
    def position(self) -> Position:
        """Where the answer stands after the bytes that came out of ``feed``."""


class NullReader:
    """The reader of answers without tokens that are not one JSON document: the results of a batch, or no body."""

    is_error_forwarded = True
    ending = Ending.OPEN
    error: UpstreamError | None = None
    position = WHOLE

    def __init__(self, *, may_be_empty: bool = False) -> None:
        """``may_be_empty``: an answer without a body is whole."""
        self.has_begun = self.has_substance = self.is_complete = may_be_empty

    def feed(self, data: bytes) -> bytes:
        """``data``, of which only the first byte is looked at: a page in HTML is no answer of an API."""
        if not self.has_begun and (beginning := data.lstrip()[:1]):
            self.has_begun = True
            if beginning == b"<":
                self.error = UpstreamProtocolError("the upstream answered with a page, and not as an API does")
            else:
                self.has_substance = self.is_complete = True
        return data

    def finish(self) -> UsageStats:
        """No usage."""
        return NO_USAGE
