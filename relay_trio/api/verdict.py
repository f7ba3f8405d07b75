"""What a failure of an upstream means for the request and for the account: one judge, and a table for each vendor.

A vendor's provider reads the error's own name out of headers or body, and looks status and name up in its
``VerdictTable``. What follows from a meaning is the same for all vendors and is decided here alone. That includes the
outcome that the ledger books when the answer is passed on to the client.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING

from relay_trio.errors import (
    UpstreamError,
    UpstreamErrorEvent,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_STREAM_COOLDOWN_SECONDS = 2.0
"""How long an account rests that reported an overload inside a stream, which names no time."""


class Meaning(Enum):
    """What an error status means."""

    LIMITED = auto()  # the account has to rest for a while
    UNPAID = auto()  # the account has run out of money
    UNSERVED = auto()  # the account's project or country is refused, until an operator acts
    CREDENTIAL_REFUSED = auto()  # the account's credential is wrong, or has run out
    FORBIDDEN = auto()  # a redirect, or a refusal that may be the request's own fault
    LACKS_MODEL = auto()  # a refusal that is about one model at this account; its text may say whose account it is
    NOT_HERE = auto()  # no such model, or no such thing: another account may have it
    TIMED_OUT = auto()  # the model took too long
    FAILED_ONCE = auto()  # the call failed, by no fault of the account: another one's may not
    FAILED = auto()  # the upstream failed
    REJECTED = auto()  # the client must change its request


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure of an upstream means for the request and for the account.

    ``error`` decides the outcome of a request that ends with it. ``is_retryable``: another account may do better.
    ``cooldown_seconds``: how long the account rests, such as 10.0; None: it does not. ``is_dated``: the upstream stated
    the date until which it rests, which may be far. ``is_strike``: the failure counts against the account's breaker.
    ``is_credential_refused``: no request of the account can succeed until it has another credential.
    ``is_passed_through``: the client may see the upstream's own body.
    """

    error: UpstreamError
    is_retryable: bool = False
    cooldown_seconds: float | None = None
    is_strike: bool = False
    is_dated: bool = False
    is_credential_refused: bool = False
    is_passed_through: bool = True


@dataclass(frozen=True, slots=True)
class NamesInAnswers:
    """What the names of errors mean that one vendor reports inside its answers. ``limited``: the account has to rest;
    ``refused``: it is not accepted; ``rejected``: the client must change its request; any other: the answer failed."""

    limited: frozenset[str]
    refused: frozenset[str]
    rejected: frozenset[str]

    def error(self, name: object, shown: str = "") -> UpstreamError:
        """The error with that ``name``, as parsed from JSON. Its message has ``shown`` in place of the name; without
        that, a name that is not in the table is not shown."""
        if not isinstance(name, str):
            name = ""
        message = f"the upstream reported {shown or name} inside its answer"
        if name in self.limited:
            return UpstreamRateLimited(message)
        if name in self.refused:
            return UpstreamRefused("the upstream refused the account inside its answer")
        if name in self.rejected:
            return UpstreamRejected(message)
        return UpstreamErrorEvent(f"the upstream reported {shown or 'an error'} inside its answer")


def verdict_without_answer(error: UpstreamError) -> Verdict:
    """The verdict on a call that failed before its answer began: no credential, no connection, no head, or none that
    can be understood; or an error in the answer's place."""
    return replace(verdict_in_stream(error), is_retryable=not isinstance(error, UpstreamRejected))


def verdict_in_stream(error: UpstreamError) -> Verdict:
    """The verdict on an error that the upstream reported inside its stream. The answer has begun, so it is final."""
    if isinstance(error, UpstreamRateLimited):
        return Verdict(error, cooldown_seconds=_IN_STREAM_COOLDOWN_SECONDS)
    return Verdict(error, is_strike=not isinstance(error, UpstreamRejected))


@dataclass(frozen=True, slots=True)
class VerdictTable:
    """What one vendor's statuses and error names mean.

    ``cooldowns`` maps a status that means LIMITED to the seconds for which an account then rests where the upstream
    names no time, such as ``{429: 10.0}``. ``statuses`` and ``names`` hold what differs from the common meaning of a
    status; a name counts before its status. ``named_cooldown_seconds`` is the rest after a name that means LIMITED.
    """

    cooldowns: Mapping[int, float]
    statuses: Mapping[int, Meaning] = field(default_factory=lambda: MappingProxyType({}))
    names: Mapping[str, Meaning] = field(default_factory=lambda: MappingProxyType({}))
    named_cooldown_seconds: float = 5.0
    unserved_cooldown_seconds: float = 300.0

    def meaning_of(self, status: int, name: str = "") -> Meaning:
        """The meaning of ``status``, with an error whose name is ``name``, such as ``ExpiredToken``; empty: no name."""
        if status in self.cooldowns:
            return Meaning.LIMITED
        found = self.names.get(name) or self.statuses.get(status)
        if found is not None:
            return found
        if status == 401:
            return Meaning.CREDENTIAL_REFUSED
        if status == 403 or status < 400:
            return Meaning.FORBIDDEN
        if status == 404:
            return Meaning.NOT_HERE
        return Meaning.FAILED if status >= 500 else Meaning.REJECTED

    def judge(self, status: int, name: str = "", retry_after: float | None = None) -> Verdict:
        """The verdict. ``retry_after`` is the time after which the upstream would take requests again, in seconds;
        None: it named none."""
        answered = f"the upstream answered {status}"
        match self.meaning_of(status, name):
            case Meaning.LIMITED:
                usual = self.cooldowns.get(status, self.named_cooldown_seconds)
                limited = UpstreamRateLimited(answered, retry_after=retry_after)
                seconds = usual if retry_after is None else retry_after
                return Verdict(limited, is_retryable=True, cooldown_seconds=seconds)
            case Meaning.UNPAID:
                unpaid = UpstreamRefused("the upstream asks for payment")
                seconds = self.unserved_cooldown_seconds
                return Verdict(unpaid, is_retryable=True, cooldown_seconds=seconds, is_passed_through=False)
            case Meaning.UNSERVED:
                unserved = UpstreamRefused("the upstream does not serve this account")
                seconds = self.unserved_cooldown_seconds
                return Verdict(unserved, is_retryable=True, cooldown_seconds=seconds, is_passed_through=False)
            case Meaning.CREDENTIAL_REFUSED:
                refused = UpstreamRefused("the upstream did not accept the account's credential")
                return Verdict(refused, is_retryable=True, is_credential_refused=True, is_passed_through=False)
            case Meaning.FORBIDDEN:
                # One 403 may be the request's own fault, so the account stays in use.
                error = UpstreamError(answered) if status < 400 else UpstreamRefused(answered)
                return Verdict(error, is_retryable=True, is_strike=True, is_passed_through=False)
            case Meaning.LACKS_MODEL:
                lacking = UpstreamRefused("the upstream does not serve this to the account")
                return Verdict(lacking, is_retryable=True, is_passed_through=False)
            case Meaning.NOT_HERE:
                return Verdict(UpstreamRejected(answered), is_retryable=True)
            case Meaning.TIMED_OUT:
                return Verdict(UpstreamTimeout("the model took too long"), is_retryable=True)
            case Meaning.FAILED_ONCE:
                return Verdict(UpstreamError(answered), is_retryable=True)
            case Meaning.FAILED:
                return Verdict(UpstreamError(answered), is_retryable=True, is_strike=True)
            case Meaning.REJECTED:
                return Verdict(UpstreamRejected(answered))
