"""What clients of the Gemini API and of Gemini on Vertex AI speak: their paths, their secrets, their errors.

An error is a ``google.rpc.Status`` (Google's API design guide, AIP-193). The time to wait and the request's id are in
its details, and not in headers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from relay_trio.api.error_answers import merged_headers, plain_body
from relay_trio.api.position import Form
from relay_trio.api.retry_after import retry_fields
from relay_trio.api.secrets import secrets_of_headers
from relay_trio.errors import ErrorKind, NotFound
from relay_trio.vendors.gemini.operations import OPERATIONS
from relay_trio.vendors.gemini.paths import VERBS, forwarded_query, keys_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.authenticator import Authenticator
    from relay_trio.api.dialect import ErrorAnswer
    from relay_trio.api.operation import Parameters
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import ClientHead, Headers, ResponseHead
    from relay_trio.settings.account import AccountSettings

_TYPES = "type.googleapis.com/google.rpc."

_STATUS_AND_NAME = {
    ErrorKind.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    ErrorKind.AUTHENTICATION: (401, "UNAUTHENTICATED"),
    ErrorKind.PERMISSION: (403, "PERMISSION_DENIED"),
    ErrorKind.NOT_FOUND: (404, "NOT_FOUND"),
    ErrorKind.METHOD_NOT_ALLOWED: (405, "INVALID_ARGUMENT"),
    ErrorKind.BODY_TIMEOUT: (408, "DEADLINE_EXCEEDED"),
    ErrorKind.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    ErrorKind.UNSUPPORTED_ENCODING: (415, "INVALID_ARGUMENT"),
    ErrorKind.RATE_LIMIT: (429, "RESOURCE_EXHAUSTED"),
    ErrorKind.OVERLOADED: (503, "UNAVAILABLE"),
    ErrorKind.UPSTREAM_FAILED: (502, "UNAVAILABLE"),
    ErrorKind.UPSTREAM_TIMEOUT: (504, "DEADLINE_EXCEEDED"),
    ErrorKind.INTERNAL: (500, "INTERNAL"),
}

_PATHS = ("/v1beta/", "/v1beta1/", "/v1alpha/", "/v1/projects/", "/v1/publishers/")
_SHARED_PATH = "/v1/models"
_KEY_HEADERS = frozenset({b"x-goog-api-key", b"x-api-key"})
_HEADERS: Headers = [(b"content-type", b"application/json; charset=UTF-8")]


class GeminiDialect:
    """The dialect of Google's paths, and of requests with a key in one of Google's places."""

    name = "gemini"
    operations = OPERATIONS
    id_headers: tuple[bytes, ...] = ()
    path_hint = f"a model and one of {', '.join(sorted(VERBS))} are expected"
    secret_places = "x-goog-api-key, as x-api-key or as Authorization: Bearer"
    authenticator: Authenticator | None = None

    def claims(self, head: ClientHead) -> bool:
        """Whether the path is Google's, or the key is in one of Google's places: three APIs have ``/v1/models``."""
        path = unquote_to_bytes(head.raw_path).decode("latin-1")
        if path.startswith(_PATHS):
            return True
        if path.startswith(_SHARED_PATH) and (":" in path or keys_in(head.query)):
            return True
        return any(name == b"x-goog-api-key" for name, _ in head.headers)

    def check_path(self, parameters: Parameters) -> None:
        """Raise NotFound for a model's name with a slash: it is one part of the path."""
        if "/" in parameters.get("model", ""):
            raise NotFound(f"no such route: {self.path_hint}")

    def forwarded_query(self, query: bytes) -> bytes:
        """Without the key, and with no parameter that would hide tokens from the relay."""
        return forwarded_query(query) if query else query

    def secrets_in(self, head: ClientHead) -> list[str]:
        """The secrets in headers, then those in the query, where browsers and curl put them."""
        return [*secrets_of_headers(head.headers, _KEY_HEADERS), *keys_in(head.query)]

    def client_lines(self, url: str, secret: str, accounts: Sequence[AccountSettings]) -> Sequence[str]:
        """The variables that Google's SDKs and gemini-cli read."""
        return (f"export GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY={secret}",)

    def status_of(self, error: RelayError) -> int:
        """Google's status for the kind of error."""
        return _STATUS_AND_NAME[error.kind][0]

    def error_response(self, error: RelayError, request_id: str) -> ErrorAnswer:
        """Google's envelope, with ``RetryInfo`` where there is something to wait for."""
        return self.status_of(error), _headers(error), _envelope(error, request_id)

    def passed_on(self, error: RelayError, head: ResponseHead, body: bytes, request_id: str) -> ErrorAnswer:
        """The upstream's own error as it came, or ours where the body is none. A stream's error may be in an array."""
        headers = merged_headers(head.headers, _headers(error))
        body = plain_body(head, body)
        try:
            is_theirs = error_in(json.loads(body)) is not None
        except (ValueError, RecursionError):
            is_theirs = False
        return head.status, headers, body if is_theirs else _envelope(error, request_id)

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """In a stream of events, lines of JSON without ``data:``, as Google's own; in an array, one more element.

        The array stays open, and the events lack a finish reason, so no client takes the answer for complete. In the
        middle of an event the broken line is ended first: SDKs read the error before they parse what they have of the
        event. Inside an element nothing can be added that a client could read.
        """
        if position.form is Form.EVENTS:
            newline = b"\n" if position.is_mid_event else b""
            return newline + _envelope(error, request_id) + b"\n"
        if position.form is Form.ARRAY and position.separator is not None:
            return position.separator + b"\n" + _envelope(error, request_id) + b"\n"
        return b""


def error_in(document: object) -> dict[str, Any] | None:
    """The error of Google's envelope, which may be the only element of an array; None when there is none."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def details_of(error: dict[str, Any], kind: str) -> dict[str, Any]:
    """The first of the error's details that is a ``kind``, such as ``RetryInfo``; empty where there is none."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type", "")).rpartition("/")[2] == f"google.rpc.{kind}":
            return detail
    return {}


def _headers(error: RelayError) -> Headers:
    """Google's time to wait is in the body alone."""
    return [*_HEADERS, *(field for field in retry_fields(error) if field[0] != b"retry-after")]


def _envelope(error: RelayError, request_id: str) -> bytes:
    code, name = _STATUS_AND_NAME[error.kind]
    details: list[dict[str, str]] = [{"@type": f"{_TYPES}RequestInfo", "requestId": request_id}]
    if error.retry_after is not None:
        delay = max(error.retry_after, 0.0)
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{delay:.10g}s"})
    envelope = {"error": {"code": code, "message": error.message, "status": name, "details": details}}
    return json.dumps(envelope, indent=2).encode()
