"""How clients of the Bedrock runtime are told about errors: a message, the exception's name in a header, and inside an
event stream an exception frame (Bedrock runtime API reference, "Common errors" and each operation's own)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.api.position import Form
from relay_trio.errors import ErrorKind
from relay_trio.vendors.bedrock.stream import INVOKE_STREAM
from relay_trio.vendors.claude.provider import client_retry_after
from relay_trio.wire.event_stream import encode_frame

if TYPE_CHECKING:
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import Headers

_STATUS_AND_EXCEPTION = {
    ErrorKind.BAD_REQUEST: (400, "ValidationException"),
    ErrorKind.AUTHENTICATION: (403, "AccessDeniedException"),
    ErrorKind.PERMISSION: (403, "AccessDeniedException"),
    ErrorKind.NOT_FOUND: (404, "ResourceNotFoundException"),
    ErrorKind.METHOD_NOT_ALLOWED: (405, "ValidationException"),
    ErrorKind.BODY_TIMEOUT: (408, "RequestTimeoutException"),
    ErrorKind.TOO_LARGE: (413, "ValidationException"),
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
"""Names that both kinds of stream have; the others are ``internalServerException``. Only invoke streams have
``modelTimeoutException``: for a converse stream boto3 would raise an error without a code."""


class BedrockDialect:
    """The dialect of every route under ``/model/``."""

    name = "bedrock"

    def status_of(self, error: RelayError) -> int:
        """AWS's status for the kind of error."""
        return _STATUS_AND_EXCEPTION[error.kind][0]

    def error_response(self, error: RelayError, request_id: str) -> tuple[int, Headers, bytes]:
        """``{"message": …}`` and ``x-amzn-errortype``."""
        status, exception = _STATUS_AND_EXCEPTION[error.kind]
        headers: Headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", exception.encode())]
        if error.retry_after is not None:
            headers.append((b"retry-after", client_retry_after(error.retry_after)))
        return status, headers, _message(error)

    def upstream_error_body(self, body: bytes, error: RelayError, request_id: str) -> bytes:
        """The upstream's own error as it came, or ours when it is not one."""
        try:
            is_told = isinstance(json.loads(body), dict)
        except (ValueError, RecursionError):
            is_told = False
        return body if is_told else _message(error)

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """An exception frame. In the middle of a frame there is no place for one: the client sees the connection
        break."""
        if position.form is not Form.FRAMES or position.is_mid_event:
            return b""
        exception = _IN_STREAM.get(error.kind, "internalServerException")
        if exception == "modelTimeoutException" and position.stream != INVOKE_STREAM:
            exception = "modelStreamErrorException"
        headers = {":exception-type": exception, ":content-type": "application/json", ":message-type": "exception"}
        return encode_frame(headers, _message(error))


def _message(error: RelayError) -> bytes:
    return json.dumps({"message": error.message}, separators=(",", ":")).encode()
