"""What clients of the Bedrock runtime speak: their paths, their secrets and signatures, their errors.

An error is a message with the exception's name in a header, and inside an event stream an exception frame (Bedrock
runtime API reference, "Common errors", and the errors of each operation).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.api.error_answers import merged_headers, plain_body
from relay_trio.api.position import Form
from relay_trio.api.retry_after import retry_fields
from relay_trio.api.secrets import query_without_credentials, secrets_of_headers
from relay_trio.errors import ErrorKind
from relay_trio.vendors.bedrock.authenticator import SigV4Authenticator
from relay_trio.vendors.bedrock.client_lines import secret_lines
from relay_trio.vendors.bedrock.operations import OPERATIONS
from relay_trio.vendors.bedrock.stream import INVOKE_STREAM
from relay_trio.wire.event_stream import encode_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.authenticator import Authenticator
    from relay_trio.api.dialect import ErrorAnswer
    from relay_trio.api.operation import Parameters
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import ClientHead, Headers, ResponseHead
    from relay_trio.settings.account import AccountSettings

_STATUS_AND_EXCEPTION = {
    ErrorKind.BAD_REQUEST: (400, "ValidationException"),
    ErrorKind.AUTHENTICATION: (403, "AccessDeniedException"),
    ErrorKind.PERMISSION: (403, "AccessDeniedException"),
    ErrorKind.NOT_FOUND: (404, "ResourceNotFoundException"),
    ErrorKind.METHOD_NOT_ALLOWED: (405, "ValidationException"),
    ErrorKind.BODY_TIMEOUT: (408, "RequestTimeoutException"),
    ErrorKind.TOO_LARGE: (413, "ValidationException"),
    ErrorKind.UNSUPPORTED_ENCODING: (415, "ValidationException"),
    ErrorKind.RATE_LIMIT: (429, "ThrottlingException"),
    ErrorKind.OVERLOADED: (503, "ServiceUnavailableException"),
    ErrorKind.UPSTREAM_FAILED: (502, "InternalServerException"),
    ErrorKind.UPSTREAM_TIMEOUT: (504, "ModelTimeoutException"),
    ErrorKind.INTERNAL: (500, "InternalServerException"),
}

_IN_STREAM = {
    ErrorKind.RATE_LIMIT: "throttlingException",
    ErrorKind.OVERLOADED: "serviceUnavailableException",
    ErrorKind.UPSTREAM_FAILED: "modelStreamErrorException",
    ErrorKind.UPSTREAM_TIMEOUT: "modelTimeoutException",
}
"""Exceptions of both kinds of stream; every other kind of error is ``internalServerException``. Only invoke streams
have ``modelTimeoutException``: in a converse stream boto3 would raise an error without a code for it."""

_PATHS = (b"/model/", b"/inference-profiles")
_KEY_HEADERS = frozenset({b"x-api-key"})


class BedrockDialect:
    """The dialect of every path under ``/model/``."""

    name = "bedrock"
    operations = OPERATIONS
    id_headers: tuple[bytes, ...] = (b"x-amzn-requestid",)
    path_hint = "the model is one part of the path, with / written as %2F"
    secret_places = "x-api-key or as Authorization: Bearer"
    authenticator: Authenticator | None = SigV4Authenticator()

    def claims(self, head: ClientHead) -> bool:
        """Whether the path is one of AWS's."""
        return head.raw_path.startswith(_PATHS)

    def check_path(self, parameters: Parameters) -> None:
        """Nothing to check: an ARN has slashes, and two dots are refused in every model's name."""

    def forwarded_query(self, query: bytes) -> bytes:
        """As it came, without a key."""
        return query_without_credentials(query)

    def secrets_in(self, head: ClientHead) -> list[str]:
        """A client key in place of a Bedrock API key, where AWS's SDKs send that, or Claude's."""
        return secrets_of_headers(head.headers, _KEY_HEADERS)

    def client_lines(self, url: str, secret: str, accounts: Sequence[AccountSettings]) -> Sequence[str]:
        """The variables that Claude's SDKs read in their Bedrock form, and AWS's own where they send a secret."""
        return secret_lines(url, secret, accounts)

    def status_of(self, error: RelayError) -> int:
        """AWS's status for the kind of error."""
        return _STATUS_AND_EXCEPTION[error.kind][0]

    def error_response(self, error: RelayError, request_id: str) -> ErrorAnswer:
        """``{"message": …}`` and ``x-amzn-errortype``."""
        return self.status_of(error), _headers(error), _message(error)

    def passed_on(self, error: RelayError, head: ResponseHead, body: bytes, request_id: str) -> ErrorAnswer:
        """The upstream's own error as it came, or ours where the body is none."""
        headers = merged_headers(head.headers, _headers(error))
        body = plain_body(head, body)
        try:
            is_theirs = isinstance(json.loads(body), dict)
        except (ValueError, RecursionError):
            is_theirs = False
        return head.status, headers, body if is_theirs else _message(error)

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """An exception frame. There is no place for one inside a frame: there, the client sees the connection break."""
        if position.form is not Form.FRAMES or position.is_mid_event:
            return b""
        exception = _IN_STREAM.get(error.kind, "internalServerException")
        if exception == "modelTimeoutException" and position.stream != INVOKE_STREAM:
            exception = "modelStreamErrorException"
        headers = {":exception-type": exception, ":content-type": "application/json", ":message-type": "exception"}
        return encode_frame(headers, _message(error))


def _headers(error: RelayError) -> Headers:
    _, exception = _STATUS_AND_EXCEPTION[error.kind]
    headers: Headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", exception.encode())]
    return [*headers, *retry_fields(error)]


def _message(error: RelayError) -> bytes:
    return json.dumps({"message": error.message}, separators=(",", ":")).encode()
