"""One ledger row: everything that is known of one request, and nothing that must not be kept.

No prompt, no answer, no secret, no client address. The columns of the table are derived from its fields.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from relay_trio.outcome import Word
from relay_trio.usage import NO_USAGE, UsageStats

if TYPE_CHECKING:
    from relay_trio.outcome import Outcome, Phase

_UPSTREAM_FAULTS = {Word.UPSTREAM_ERROR, Word.UPSTREAM_RATE_LIMITED, Word.UPSTREAM_TIMEOUT, Word.IDLE_TIMEOUT}

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at an account, now that it has ended. ``phase`` is how far it came, ``reason`` what the request's
    outcome is if it ends with this attempt, ``status`` the upstream's, if it answered at all."""

    account: str
    phase: Phase
    reason: Word
    status: int | None
    duration_ms: float

    @property
    def has_failed(self) -> bool:
        """Whether it ended by the upstream's fault."""
        return self.reason in _UPSTREAM_FAULTS


@dataclass(slots=True)
class LedgerRow:
    """Opened when an authenticated request is admitted, closed exactly once.

    ``started_at`` is epoch seconds; every ``*_ms`` is milliseconds from a monotonic clock, None where the request did
    not get that far. ``queue_ms``: all waiting for slots. ``connect_ms``: of the answering attempt. ``ttft_ms``: from
    admission to the first body byte from the upstream. ``release_ms``: from the moment the end was known (disconnect
    seen, deadline, last byte) to the slot being free; ``upstream_close_ms``: from there to the upstream connection
    closed or pooled. ``sent_bytes`` and ``chunks`` count body bytes read from the upstream for the client.
    ``status`` is what the client saw, or 499 where it left before a head was sent. ``request_id`` is always the
    relay's own, because a client may repeat its ids and a row is found by one; the client's is kept beside it.
    ``key_name`` is for those who read along, and is not stored: the ledger knows keys by their id.
    ``worker`` is the process that opened the row. ``attempt_log`` has the attempts that failed, in order: none for a
    request that the first account answered. ``cost_usd`` is None where no tokens were seen, and where the model has no
    price. ``cost_note`` says in words of ``ledger.prices.CostNote``, with commas between them, what it does not hold;
    empty where it is the whole cost. ``prices_of`` is the day of the newest price in the lists that it was computed by,
    such as ``2026-11-04``; empty where there is no cost. ``dropped`` are the capabilities that the request named and
    the answering account's upstream does not know, with commas between them: words of
    ``vendors.translations.capabilities``.
    """

    request_id: str
    key_id: str
    started_at: float
    route: str
    model: str = ""
    is_stream: bool = False
    provider: str = ""
    account: str = ""
    outcome: Outcome | None = None
    status: int | None = None
    attempts: int = 0
    queue_ms: float | None = None
    connect_ms: float | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    release_ms: float | None = None
    upstream_close_ms: float | None = None
    sent_bytes: int = 0
    chunks: int = 0
    usage: UsageStats = NO_USAGE
    cost_usd: float | None = None
    cost_note: str = ""
    prices_of: str = ""
    client_request_id: str = ""
    upstream_request_id: str = ""
    cancelled_by: str = ""
    worker: str = ""
    attempt_log: tuple[AttemptRecord, ...] = ()
    dropped: str = ""
    key_name: str = ""

    @property
    def attempt_log_json(self) -> str:
        """The attempts as a JSON list of objects."""
        return _encode([asdict(attempt) for attempt in self.attempt_log]) if self.attempt_log else "[]"

    @property
    def outcome_word(self) -> str | None:
        """The outcome's word; None while the request runs."""
        return None if self.outcome is None else self.outcome.word.value

    @property
    def outcome_code(self) -> str | None:
        """Who ended the request and how far it had come, as two letters; None while it runs."""
        return None if self.outcome is None else self.outcome.code
