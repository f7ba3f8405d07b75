"""The error tree: whose fault it is, what the client gets, whether another account may be tried.

An error carries no phase: the same broken connection is ``SC``, ``SH`` or ``SD`` depending on how far the request had
come, which only its owner knows (``outcome_in``). Cancellation is deliberately not in this tree: it is not an error
value, so it can never reach the code that judges an account's health.

Messages say what was expected, what came and what helps. They never hold a secret or prompt text.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from relay_trio.outcome import Outcome, Who, Word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.outcome import Phase


def plain_name(error: BaseException) -> str:
    """The kind of a library's error, such as "refresh error", where its text may hold what nobody should read."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


class ErrorKind(StrEnum):
    """What is wrong, free of dialect: each dialect has one status and one type for each kind."""

    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TIMEOUT = "body_timeout"
    TOO_LARGE = "too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    INTERNAL = "internal"


class RelayError(Exception):
    """Base of every error the relay raises on purpose.

    ``message`` is for the client. ``detail`` is for the operator (addresses, certificates): it is in ``str(error)`` and
    in no answer. ``retry_after`` (seconds, or None) is how long the client is to wait. ``should_retry``: whether the
    same request may do better later; None: it is not known.
    """

    should_retry: ClassVar[bool | None] = None

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    word: ClassVar[Word] = Word.INTERNAL
    who: ClassVar[Who] = Who.INTERNAL

    def __init__(self, message: str, *, retry_after: float | None = None, detail: str = "") -> None:
        super().__init__(f"{message}: {detail}" if detail else message)
        self.message = message
        self.retry_after = retry_after

    def outcome_in(self, phase: Phase) -> Outcome:
        """The outcome of a request that this error ended in ``phase``."""
        return Outcome(self.word, self.who, phase)


# --- the client's fault -------------------------------------------------------------------------------------------


class ClientError(RelayError):
    """The client must change its request."""

    kind = ErrorKind.BAD_REQUEST
    word = Word.REJECTED_REQUEST
    who = Who.POLICY


class BadRequest(ClientError):
    """The request cannot be read or understood."""


class NotFound(ClientError):
    """No such route, or no account of the pool serves the model."""

    kind = ErrorKind.NOT_FOUND
    should_retry = False


class MethodNotAllowed(ClientError):
    """The route exists, the method does not; ``allowed`` are those that do."""

    kind = ErrorKind.METHOD_NOT_ALLOWED

    def __init__(self, message: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.allowed = tuple(sorted(allowed))


class BodyTooLarge(ClientError):
    """More body bytes than ``max_body_bytes``."""

    kind = ErrorKind.TOO_LARGE


class UnsupportedEncoding(ClientError):
    """The body is compressed in a way that is not accepted."""

    kind = ErrorKind.UNSUPPORTED_ENCODING


class BodyTooSlow(ClientError):
    """The request body stopped arriving."""

    kind = ErrorKind.BODY_TIMEOUT
    word = Word.CLIENT_TIMEOUT
    who = Who.CLIENT_TIMEOUT


class ClientStalled(ClientError):
    """The client stopped reading the answer for longer than ``write_timeout_seconds``."""

    kind = ErrorKind.BODY_TIMEOUT
    word = Word.CLIENT_TIMEOUT
    who = Who.CLIENT_TIMEOUT


class AuthenticationFailed(ClientError):
    """No relay key, or one that is unknown or revoked."""

    kind = ErrorKind.AUTHENTICATION
    should_retry = False
    word = Word.REJECTED_AUTH


class PermissionDenied(ClientError):
    """The key is known and may not do this."""

    kind = ErrorKind.PERMISSION
    should_retry = False
    word = Word.REJECTED_AUTH


# --- the relay's own limits ---------------------------------------------------------------------------------------


class CapacityError(RelayError):
    """The pool has no slot for the request now; later it may."""

    kind = ErrorKind.OVERLOADED
    should_retry = True
    word = Word.REJECTED_CAPACITY
    who = Who.RELAY


class QueueFull(CapacityError):
    """``max_waiting`` requests wait already."""


class QueueTimeout(CapacityError):
    """No slot came free within ``queue_timeout_seconds``."""


class NoUsableAccount(CapacityError):
    """Every account that serves the model is out of rotation."""


class NoAccountInRotation(NoUsableAccount):
    """Every account that serves the model is out of rotation until an operator acts."""

    should_retry = False


class LedgerUnavailable(CapacityError):
    """The ledger cannot take another row, and a request without a row is not served."""


class ShuttingDown(RelayError):
    """The relay takes no new work."""

    kind = ErrorKind.OVERLOADED
    should_retry = True
    word = Word.SHUTDOWN
    who = Who.DRAIN


# --- the upstream's fault -----------------------------------------------------------------------------------------


class UpstreamError(RelayError):
    """The upstream failed; before the first byte has reached the client, another account may be tried."""

    kind = ErrorKind.UPSTREAM_FAILED
    word = Word.UPSTREAM_ERROR
    who = Who.UPSTREAM


class UpstreamConnectError(UpstreamError):
    """DNS, TCP or TLS towards the upstream failed; nothing was sent."""


class UpstreamClosed(UpstreamError):
    """The upstream closed or reset the connection before its answer was whole."""


class UpstreamProtocolError(UpstreamError):
    """What the upstream sent is not HTTP, or breaks a limit."""


class UpstreamTruncated(UpstreamError):
    """HTTP ended cleanly, the dialect's own last event is missing."""


class UpstreamRefused(UpstreamError):
    """The upstream refused the account (401, 402, 403): the client gets a permission error, and none of its words."""

    kind = ErrorKind.PERMISSION
    should_retry = False


class UpstreamRejected(UpstreamError):
    """The upstream answered that the client must change its request; the client gets that answer as it came."""

    kind = ErrorKind.BAD_REQUEST
    word = Word.REJECTED_REQUEST


class UpstreamRateLimited(UpstreamError):
    """The upstream answered 429, 503 or 529, or said so inside the stream."""

    kind = ErrorKind.OVERLOADED
    should_retry = True
    word = Word.UPSTREAM_RATE_LIMITED


class UpstreamErrorEvent(UpstreamError):
    """The upstream reported an error inside its stream; the client already has it."""


class UpstreamTimeout(UpstreamError):
    """A deadline towards the upstream passed: connect, first byte or total."""

    kind = ErrorKind.UPSTREAM_TIMEOUT
    word = Word.UPSTREAM_TIMEOUT
    who = Who.UPSTREAM_TIMEOUT


class UpstreamIdle(UpstreamTimeout):
    """Silence between two chunks for longer than ``idle_timeout_seconds``."""

    word = Word.IDLE_TIMEOUT
