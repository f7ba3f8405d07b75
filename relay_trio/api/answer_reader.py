"""Reads one answer as it goes by: usage, end, errors, and the translation where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from relay_trio.api.position import Form
    from relay_trio.errors import UpstreamError
    from relay_trio.usage import UsageStats


class AnswerReader(Protocol):
    """Reads one answer as it goes by. Never raises, never delays.

    Where client and upstream speak the same dialect it alters nothing; where they do not, it translates.
    """

    form: Form
    """What the client is sent."""

    tells_its_error: bool
    """Whether ``error`` is in the bytes that the client is sent; otherwise the dialect has to tell it."""

    def feed(self, data: bytes) -> bytes:
        """What the client is to be sent for ``data``, the next bytes of the body, cut anywhere: ``data`` itself, or its
        translation, which may be empty until more has come."""

    def finish(self) -> UsageStats:
        """The token record of what was seen so far; may be called at any time, whole or cut."""

    @property
    def is_complete(self) -> bool:
        """Whether the dialect's own last event was seen (for answers without one: always true)."""

    @property
    def is_mid_event(self) -> bool:
        """Whether the bytes so far end inside an event."""

    @property
    def error(self) -> UpstreamError | None:
        """The error that the upstream reported inside the stream, if any."""
