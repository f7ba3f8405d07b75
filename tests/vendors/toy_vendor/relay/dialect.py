"""How clients of the toy are answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay_trio.vendors.toy.operations import OPERATIONS

from relay_trio.api.error_answers import merged_headers, plain_body
from relay_trio.api.position import Form
from relay_trio.api.secrets import secrets_of_headers
from relay_trio.errors import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.authenticator import Authenticator
    from relay_trio.api.dialect import ErrorAnswer
    from relay_trio.api.operation import Parameters
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import ClientHead, Headers, ResponseHead
    from relay_trio.settings.account import AccountSettings

_STATUSES = {ErrorKind.AUTHENTICATION: 401, ErrorKind.NOT_FOUND: 404, ErrorKind.METHOD_NOT_ALLOWED: 405}
_HEADERS: Headers = [(b"content-type", b"application/json")]


class ToyDialect:
    """The dialect of every path under ``/toy/``."""

    name = "toy"
    operations = OPERATIONS
    id_headers: tuple[bytes, ...] = (b"x-toy-id",)
    path_hint = "the toy speaks at /toy/speak"
    secret_places = "x-toy-key"
    authenticator: Authenticator | None = None

    def claims(self, head: ClientHead) -> bool:
        return head.raw_path.startswith(b"/toy/")

    def check_path(self, parameters: Parameters) -> None:
        pass

    def forwarded_query(self, query: bytes) -> bytes:
        return query

    def secrets_in(self, head: ClientHead) -> list[str]:
        return secrets_of_headers(head.headers, {b"x-toy-key"})

    def client_lines(self, url: str, secret: str, accounts: Sequence[AccountSettings]) -> Sequence[str]:
        return (f"export TOY_URL={url}/toy TOY_KEY={secret}",)

    def status_of(self, error: RelayError) -> int:
        return _STATUSES.get(error.kind, 500)

    def error_response(self, error: RelayError, request_id: str) -> ErrorAnswer:
        return self.status_of(error), list(_HEADERS), _envelope(error, request_id)

    def passed_on(self, error: RelayError, head: ResponseHead, body: bytes, request_id: str) -> ErrorAnswer:
        return head.status, merged_headers(head.headers, _HEADERS), plain_body(head, body)

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        if position.form is not Form.EVENTS or position.is_mid_event:
            return b""
        return b"data: " + _envelope(error, request_id) + b"\n\n"


def _envelope(error: RelayError, request_id: str) -> bytes:
    return json.dumps({"error": error.message, "id": request_id}).encode()
