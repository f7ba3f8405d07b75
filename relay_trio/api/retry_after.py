"""``Retry-After``: what upstreams send, which is seconds, an HTTP date or nonsense (RFC 9110 section 10.2.3), and what
clients are sent."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

CLIENT_WAIT_MAX_SECONDS = 60.0
"""The longest time that a client is given to wait. Current SDKs sleep for any time that they are given; older ones
ignore times above 60 s."""


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
    """The header's value for a client: whole seconds, rounded up, at most ``CLIENT_WAIT_MAX_SECONDS``."""
    return str(math.ceil(min(seconds, CLIENT_WAIT_MAX_SECONDS))).encode()
