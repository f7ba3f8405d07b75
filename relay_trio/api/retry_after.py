"""``Retry-After``: what upstreams send, which is seconds, an HTTP date or nonsense (RFC 9110 section 10.2.3), and what
clients are sent."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.errors import RelayError
    from relay_trio.http import Headers

_SLEEP_MAX_SECONDS = 60.0
"""The longest time that a client is to sleep for, and then try again by itself. Current SDKs sleep for any time that
they are given."""


def retry_after_seconds(value: bytes | None, now: float) -> float | None:
    """Seconds to wait from ``now`` (epoch seconds); None when there is no usable value. Never negative."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)  # without a zone it is UTC (RFC 9110 section 5.6.7)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def client_retry_after(seconds: float) -> bytes:
    """The header's value for a client: whole seconds, rounded up, and the truth, however long."""
    return str(math.ceil(seconds)).encode()


def retry_fields(error: RelayError) -> Headers:
    """``retry-after`` and ``x-should-retry`` of an answer that is ``error``, where they are known. A client that would
    sleep for more than a minute is not to try again by itself."""
    fields: Headers = []
    should_retry = error.should_retry
    if error.retry_after is not None:
        fields.append((b"retry-after", client_retry_after(error.retry_after)))
        should_retry = should_retry if error.retry_after <= _SLEEP_MAX_SECONDS else False
    if should_retry is not None:
        fields.append((b"x-should-retry", b"true" if should_retry else b"false"))
    return fields
