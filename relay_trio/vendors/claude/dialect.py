"""How clients of the Messages API are answered (Anthropic's API reference, "Errors")."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from relay_trio.api.error_answers import merged_headers, plain_body
from relay_trio.api.position import Form
from relay_trio.api.retry_after import retry_fields
from relay_trio.api.secrets import query_without_credentials, secrets_of_headers
from relay_trio.errors import ErrorKind, NotFound
from relay_trio.vendors.claude.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.authenticator import Authenticator
    from relay_trio.api.dialect import ErrorAnswer
    from relay_trio.api.operation import Parameters
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import ClientHead, Headers, ResponseHead
    from relay_trio.settings.account import AccountSettings

_STATUS_AND_TYPE = {
    ErrorKind.BAD_REQUEST: (400, "invalid_request_error"),
    ErrorKind.AUTHENTICATION: (401, "authentication_error"),
    ErrorKind.PERMISSION: (403, "permission_error"),
    ErrorKind.NOT_FOUND: (404, "not_found_error"),
    ErrorKind.METHOD_NOT_ALLOWED: (405, "invalid_request_error"),
    ErrorKind.BODY_TIMEOUT: (408, "invalid_request_error"),
    ErrorKind.TOO_LARGE: (413, "request_too_large"),
    ErrorKind.UNSUPPORTED_ENCODING: (415, "invalid_request_error"),
    ErrorKind.RATE_LIMIT: (429, "rate_limit_error"),
    ErrorKind.OVERLOADED: (529, "overloaded_error"),
    ErrorKind.UPSTREAM_FAILED: (502, "api_error"),
    ErrorKind.UPSTREAM_TIMEOUT: (504, "timeout_error"),
    ErrorKind.INTERNAL: (500, "api_error"),
}
_CUTS_A_PATH = re.compile(r"[\x00-\x20/\\?#%\x7f]")
_KEY_HEADERS = frozenset({b"x-api-key"})


class ClaudeDialect:
    """The dialect of ``/v1/messages``, and of whatever no other dialect claims."""

    name = "claude"
    operations = OPERATIONS
    id_headers: tuple[bytes, ...] = ()
    path_hint = ""
    secret_places = "x-api-key or as Authorization: Bearer"
    authenticator: Authenticator | None = None

    def claims(self, head: ClientHead) -> bool:
        """Every request: this dialect is the last to be tried."""
        return True

    def check_path(self, parameters: Parameters) -> None:
        """Raise NotFound for a path such as ``/v1/models/../files``: the account's credential would go with it.

        A model's name may have slashes; an id has nothing at which an upstream could cut a path.
        """
        if _CUTS_A_PATH.search(parameters.get("id", "")) or any(
            step in (".", "..") for part in parameters.values() for step in part.replace("\\", "/").split("/")
        ):
            raise NotFound("no such route: an id must not hold a path")

    def forwarded_query(self, query: bytes) -> bytes:
        """As it came, without a key."""
        return query_without_credentials(query)

    def secrets_in(self, head: ClientHead) -> list[str]:
        """``x-api-key`` of older SDKs, ``Authorization: Bearer`` of newer ones."""
        return secrets_of_headers(head.headers, _KEY_HEADERS)

    def client_lines(self, url: str, secret: str, accounts: Sequence[AccountSettings]) -> Sequence[str]:
        """The variables that Claude Code and both generations of Anthropic's SDKs read."""
        return (f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={secret}",)

    def status_of(self, error: RelayError) -> int:
        """Anthropic's status for the kind of error."""
        return _STATUS_AND_TYPE[error.kind][0]

    def error_response(self, error: RelayError, request_id: str) -> ErrorAnswer:
        """The Anthropic envelope."""
        return self.status_of(error), _headers(error), _envelope(error, request_id)

    def passed_on(self, error: RelayError, head: ResponseHead, body: bytes, request_id: str) -> ErrorAnswer:
        """The upstream's own error with our request id in place of its own, or our envelope when it is not JSON."""
        headers = merged_headers(head.headers, _headers(error))
        try:
            envelope = json.loads(plain_body(head, body))
            theirs = envelope["error"]
            kind, message = str(theirs["type"]), str(theirs["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return head.status, headers, _envelope(error, request_id)
        envelope["error"] = {**theirs, "type": kind, "message": message}
        envelope["request_id"] = request_id
        return head.status, headers, _compact(envelope)

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """``event: error``, in a stream.

        In the middle of an event, the error only begins a new line, so that the broken event becomes the error event:
        an event's type is the last one given. A blank line there would give the client half an event first, and its
        JSON parser would raise before it reaches the error.
        """
        if position.form is not Form.EVENTS:
            return b""
        newline = b"\n" if position.is_mid_event else b""
        return newline + b"event: error\ndata: " + _envelope(error, request_id) + b"\n\n"


def _headers(error: RelayError) -> Headers:
    headers: Headers = [(b"content-type", b"application/json")]
    return [*headers, *retry_fields(error)]


def _envelope(error: RelayError, request_id: str) -> bytes:
    _, kind = _STATUS_AND_TYPE[error.kind]
    return _compact({"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id})


def _compact(envelope: object) -> bytes:
    return json.dumps(envelope, separators=(",", ":")).encode()
