"""The log: one line per ended request, failed attempt, change of an account, and kind of rejection; JSON, or readable.

Fields are listed one by one: no body, no secret, no client address.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from relay_trio.outcome import Who, Word
from relay_trio.pool.health import Change
from relay_trio.relay.events import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.ledger.row import AttemptRecord, LedgerRow
    from relay_trio.pool.health import AccountChange
    from relay_trio.relay.events import Rejection

_log = structlog.get_logger("relay_trio.requests")

_UPSTREAM = (Who.UPSTREAM, Who.UPSTREAM_TIMEOUT)

_LEVELS = {Change.BACK: logging.INFO, Change.DISABLED: logging.ERROR}


def configure_log(log_format: str) -> None:
    """Set up structlog for the process.

    ``log_format``: ``pretty``, ``json``, or ``auto``, which is pretty on a terminal and JSON elsewhere. A traceback is
    printed without the values of variables, which may be a prompt or a key.
    """
    is_pretty = log_format == "pretty" or (log_format == "auto" and sys.stderr.isatty())
    pretty = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer = pretty if is_pretty else structlog.processors.JSONRenderer(serializer=_encode)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


_encoder = json.JSONEncoder(default=repr)  # made once: json.dumps makes one for each call that has a ``default``


def _encode(fields: object, **_: object) -> str:
    return _encoder.encode(fields)


_REJECTION_SECONDS = 1.0
"""Between two lines about rejections of one kind: whoever has no key must not be able to fill the disk."""


class Log(Observer):
    """A line per ended request, failed attempt and change of an account; rejections of one kind once a second at most.

    ``clock`` returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rejected_at: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def request_settled(self, row: LedgerRow) -> None:
        """An alarm where the relay failed, a warning where the upstream did."""
        assert row.outcome is not None
        level = logging.INFO
        if row.outcome.word is Word.INTERNAL:
            level = logging.ERROR
        elif row.outcome.who in _UPSTREAM and row.outcome.word is not Word.REJECTED_REQUEST:
            level = logging.WARNING
        _write(
            level,
            "request",
            request_id=row.request_id,
            key=row.key_id,
            key_name=row.key_name,
            account=row.account,
            provider=row.provider,
            model=row.model,
            outcome=row.outcome.word.value,
            code=row.outcome.code,
            status=row.status,
            ttft_ms=_rounded(row.ttft_ms),
            duration_ms=_rounded(row.duration_ms),
            queue_ms=_rounded(row.queue_ms),
            bytes=row.sent_bytes,
            chunks=row.chunks,
            input_tokens=row.usage.input_tokens,
            cache_creation_tokens=row.usage.cache_creation_tokens,
            cache_read_tokens=row.usage.cache_read_tokens,
            output_tokens=row.usage.output_tokens,
            total_tokens=row.usage.total_tokens,
            usage_source=row.usage.source.value,
            attempts=row.attempts,
            slot_release_ms=_rounded(row.release_ms),
            upstream_close_ms=_rounded(row.upstream_close_ms),
            cancelled_by=row.cancelled_by,
        )

    def attempt_ended(self, request_id: str, attempt: AttemptRecord) -> None:
        """A warning for each that failed, also where another account then answers."""
        if attempt.has_failed:
            _write(
                logging.WARNING,
                "attempt",
                request_id=request_id,
                account=attempt.account,
                phase=attempt.phase.name.lower(),
                reason=attempt.reason.value,
                status=attempt.status,
                duration_ms=_rounded(attempt.duration_ms),
            )

    def request_rejected(self, rejection: Rejection) -> None:
        """``suppressed``: how many of this kind have had no line since the last one."""
        kind, now = rejection.kind, self._clock()
        if now - self._rejected_at.get(kind, -math.inf) < _REJECTION_SECONDS:
            self._suppressed[kind] += 1
            return
        self._rejected_at[kind] = now
        suppressed = self._suppressed.pop(kind, 0)
        fields: dict[str, object] = {"kind": kind}
        if rejection.request_id:
            fields["request_id"] = rejection.request_id
        if rejection.reason:
            fields["reason"] = rejection.reason
        _write(logging.INFO, "rejected", **fields, suppressed=suppressed)

    def account_changed(self, change: AccountChange) -> None:
        """A warning, until the account is back; an alarm where an operator has to act."""
        fields: dict[str, object] = {"account": change.account, "change": change.change.value}
        if change.reason:
            fields["reason"] = change.reason
        if change.seconds is not None:
            fields["seconds"] = round(change.seconds, 1)
        _write(_LEVELS.get(change.change, logging.WARNING), "account", **fields)


def log_defect(error: BaseException, request_id: str = "") -> None:
    """An exception of ours that ended one request or connection. Never its message: it may hold a prompt."""
    _write(logging.ERROR, "defect", request_id=request_id, error=type(error).__name__, where=_where(error))


def _write(level: int, event: str, **fields: object) -> None:
    """Write a line. A full disk and a closed stream lose lines, which are counted, and never a request."""
    try:
        _log.log(level, event, **fields)
    except (OSError, ValueError):
        LOST_LINES.count += 1


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))


class LostLines:
    """Log lines that could not be written."""

    def __init__(self) -> None:
        self.count = 0


LOST_LINES = LostLines()


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)
