"""``Retry-After`` as upstreams send it: seconds, an HTTP date, or nonsense (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime


def retry_after_seconds(value: bytes | None, now: float) -> float | None:
    """Seconds to wait from ``now`` (epoch seconds); None when there is no usable value. Never negative."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
