"""Google's errors: the envelope, its statuses, what it answers about credentials. Retry delays are in the body."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_CODES = {word: code for code, word in STATUS_WORDS.items()}
_TYPES = "type.googleapis.com/google.rpc."
_MESSAGES = {
    "CANCELLED": "The operation was cancelled.",
    "RESOURCE_EXHAUSTED": "You exceeded your current quota, please check your plan. (simulated)",
    "UNAVAILABLE": "The model is overloaded. Please try again later. (simulated)",
}

Details = list[dict[str, Any]]


class Refused(Exception):
    """The request breaks a rule of the API: 400 unless said otherwise."""

    def __init__(self, message: str, *, status: int = 400, details: Details | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.details = details or []


def envelope(code: int, message: str, details: Details | None = None, word: str = "") -> dict[str, Any]:
    """``{"error": {...}}``; ``details`` only where there are some, ``word`` only if not the usual one of ``code``."""
    word = word or STATUS_WORDS.get(code, "UNKNOWN" if code >= 500 else "INVALID_ARGUMENT")
    error: dict[str, Any] = {"code": code, "message": message, "status": word}
    if details:
        error["details"] = details
    return {"error": error}


def in_stream(word: str) -> dict[str, Any]:
    """The error that comes in mid-stream; ``word`` is a status of Google's, empty for an overload."""
    word = word or "UNAVAILABLE"
    error = {"code": _CODES.get(word, 500), "message": _MESSAGES.get(word, "simulated"), "status": word}
    return {"error": error}


def delay_details(code: int, retry_after: bytes | None) -> Details:
    """``RetryInfo`` for what a header ``retry-after`` would say, and what else a 429 holds."""
    details: Details = []
    if code == 429:
        quota = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "10"}
        details.append({"@type": f"{_TYPES}QuotaFailure", "violations": [quota]})
    if retry_after is not None:
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": _delay(retry_after.decode("latin-1"))})
    return details


def _delay(text: str) -> str:
    """Seconds with an ``s``; a date becomes the seconds until then, and what is neither stays as it is."""
    try:
        float(text)
    except ValueError:
        try:
            return f"{round(parsedate_to_datetime(text).timestamp() - time.time())}s"
        except ValueError:
            return text
    return f"{text}s"


# --- credentials --------------------------------------------------------------------------------------------------


def no_credential(*, is_vertex: bool) -> Refused:
    """Nobody said who they are."""
    if not is_vertex:
        return Refused(
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API.",
            status=403,
        )
    return Refused(
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential.",
        status=401,
        details=_error_info("CREDENTIALS_MISSING", is_vertex=True),
    )


def wrong_key(*, is_vertex: bool) -> Refused:
    """An API key that nobody knows: a 400, which no other provider answers."""
    details = _error_info("API_KEY_INVALID", is_vertex=is_vertex)
    return Refused("API key not valid. Please pass a valid API key.", details=details)


def wrong_token(*, is_vertex: bool) -> Refused:
    """A bearer token that nobody knows."""
    return Refused(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential.",
        status=401,
        details=_error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED", is_vertex=is_vertex),
    )


def _error_info(reason: str, *, is_vertex: bool) -> Details:
    service = "aiplatform.googleapis.com" if is_vertex else "generativelanguage.googleapis.com"
    return [
        {
            "@type": f"{_TYPES}ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {"service": service},
        }
    ]
