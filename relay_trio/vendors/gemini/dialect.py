"""How clients of the Gemini API are told about errors, on whichever of Google's services they believe to be.

The envelope is that of ``google.rpc.Status`` (Google's API design guide, AIP-193): how long to wait is in its details,
not in a header, and so is the id to quote.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from relay_trio.api.position import Form
from relay_trio.errors import ErrorKind

if TYPE_CHECKING:
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import Headers

_TYPES = "type.googleapis.com/google.rpc."

_STATUS_AND_WORD = {
    ErrorKind.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    ErrorKind.AUTHENTICATION: (401, "UNAUTHENTICATED"),
    ErrorKind.PERMISSION: (403, "PERMISSION_DENIED"),
    ErrorKind.NOT_FOUND: (404, "NOT_FOUND"),
    ErrorKind.METHOD_NOT_ALLOWED: (405, "INVALID_ARGUMENT"),
    ErrorKind.BODY_TIMEOUT: (408, "DEADLINE_EXCEEDED"),
    ErrorKind.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    ErrorKind.RATE_LIMIT: (429, "RESOURCE_EXHAUSTED"),
    ErrorKind.OVERLOADED: (503, "UNAVAILABLE"),
    ErrorKind.UPSTREAM_FAILED: (502, "UNAVAILABLE"),
    ErrorKind.UPSTREAM_TIMEOUT: (504, "DEADLINE_EXCEEDED"),
    ErrorKind.INTERNAL: (500, "INTERNAL"),
}

_CLIENT_RETRY_DELAY_MAX_SECONDS = 60.0
"""As for the other dialects: some clients sleep for as long as they are told."""


class GeminiDialect:
    """The dialect of every route under ``models``."""

    name = "gemini"

    def status_of(self, error: RelayError) -> int:
        """Google's status for the kind of error."""
        return _STATUS_AND_WORD[error.kind][0]

    def error_response(self, error: RelayError, request_id: str) -> tuple[int, Headers, bytes]:
        """Google's envelope, with ``RetryInfo`` where there is something to wait for."""
        return self.status_of(error), [(b"content-type", b"application/json; charset=UTF-8")], _told(error, request_id)

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """In a stream of events, lines of JSON without ``data:``, as Google's own; in an array, one more element.

        The array stays open and the events have no end either, so nothing can take what came for complete. In the
        middle of an event the broken line is ended first: SDKs read the error before they look at what they kept of
        the event. Inside an element nothing can be added that could be read.
        """
        if position.form is Form.EVENTS:
            newline = b"\n" if position.is_mid_event else b""
            return newline + _told(error, request_id) + b"\n"
        if position.form is Form.ARRAY and position.separator is not None:
            return position.separator + b"\n" + _told(error, request_id) + b"\n"
        return b""

    def upstream_error_body(self, body: bytes, error: RelayError, request_id: str) -> bytes:
        """The upstream's own error as it came, or ours when it is not one. Streams may have theirs in an array."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            return _told(error, request_id)
        return body if error_in(told) is not None else _told(error, request_id)


def error_in(document: object) -> dict[str, Any] | None:
    """The error of Google's envelope, which may be the only element of an array; None when there is none."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def details_of(error: dict[str, Any], kind: str) -> dict[str, Any]:
    """The first detail of ``kind``, such as ``RetryInfo``; empty when there is none."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type", "")).rpartition("/")[2] == f"google.rpc.{kind}":
            return detail
    return {}


def _told(error: RelayError, request_id: str) -> bytes:
    code, word = _STATUS_AND_WORD[error.kind]
    details: list[dict[str, str]] = [{"@type": f"{_TYPES}RequestInfo", "requestId": request_id}]
    if error.retry_after is not None:
        delay = min(max(error.retry_after, 0.0), _CLIENT_RETRY_DELAY_MAX_SECONDS)
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{delay:.10g}s"})
    envelope = {"error": {"code": code, "message": error.message, "status": word, "details": details}}
    return json.dumps(envelope, indent=2).encode()
