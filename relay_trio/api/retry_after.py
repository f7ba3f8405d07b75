"""``Retry-After`` as upstreams send it: seconds, an HTTP date, or nonsense (RFC 9110 section 10.2.3); and as clients
may see it."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

CLIENT_WAIT_MAX_SECONDS = 60.0
"""Current SDKs obey any time to wait and would sleep as long as it says; older ones ignore those above 60 s."""


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
    """Whole seconds, rounded up, capped for clients."""
    return str(math.ceil(min(seconds, CLIENT_WAIT_MAX_SECONDS))).encode()
