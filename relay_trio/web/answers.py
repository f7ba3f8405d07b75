"""From a relayed request to a Quart response: start the pump, wait for the head, or tell the error in dialect."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from quart import Response

from relay_trio.errors import RelayError
from relay_trio.relay.asked import Answer, Asked
from relay_trio.relay.channel import ResponseChannel
from relay_trio.relay.events import Rejection
from relay_trio.relay.pump import pump
from relay_trio.web.asgi import RequestLink, http_scope, link_of
from relay_trio.web.auth import authenticate
from relay_trio.web.client_body import ClientBody

if TYPE_CHECKING:
    from relay_trio.api.dialect import Dialect
    from relay_trio.http import ClientHead, Headers
    from relay_trio.keys.ring import KeyRing
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.relay.core import Relay
    from relay_trio.web.router import Match

_CLIENT_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_CLIENT_ID_LENGTH = 128


def new_request_id() -> str:
    """``req_`` and 96 random bits."""
    return f"req_{secrets.token_hex(12)}"


async def relay(core: Relay, ring: KeyRing, head: ClientHead, match: Match) -> Response:
    """Answer the current request, whose head is ``head``, for what it matches.

    Cancelled here: destroys; the pump lives in the same nursery and ends with it.
    """
    dialect = match.dialect
    link = link_of(http_scope())
    request_id = new_request_id()
    client_request_id = _client_request_id(head.headers)
    ids = _ids(dialect, request_id, client_request_id)
    handover = ResponseChannel(forward=link.forward)
    try:
        dialect.check_path(match.parameters)
        query = dialect.forwarded_query(head.query)
        key, body_check = await authenticate(ring, dialect, head, core.settings)
    except RelayError as error:
        core.events.request_rejected(Rejection(error.kind.value, request_id))
        return error_answer(dialect, error, request_id, link, ids)
    try:
        asked = Asked(
            request_id=request_id,
            dialect=dialect,
            operation=match.operation,
            parameters=match.parameters,
            key=key,
            method=head.method,
            raw_path=head.raw_path,
            query=query,
            headers=head.headers,
            body=link.body,
            presence=link.presence,
            client_request_id=client_request_id,
            body_check=body_check,
        )
        assert link.nursery is not None
        start = partial(pump, core, asked, handover)
        answer: Answer = await link.nursery.start(start, name=f"pump {request_id}")
    except RelayError as error:
        return error_answer(dialect, error, request_id, link, ids)
    timing: Headers = [
        (b"x-relay-attempts", str(answer.row.attempts).encode()),
        (b"server-timing", server_timing(answer.row)),
    ]
    return _response(answer.status, [*answer.headers, *ids, *timing], ClientBody(handover.receiver))


def error_answer(
    dialect: Dialect, error: RelayError, request_id: str, link: RequestLink, ids: Headers | None = None
) -> Response:
    """An error of ours, in the client's dialect.

    When the request's body is still arriving, the connection is closed after the answer: what else comes on it could
    be mistaken for the next request, and a client that waits for the connection would wait for ever.
    """
    status, headers, body = dialect.error_response(error, request_id)
    headers = [*headers, *(ids or _ids(dialect, request_id, ""))]
    headers.append((b"content-length", str(len(body)).encode()))
    if not link.body.is_complete:
        headers.append((b"connection", b"close"))
    return _response(status, headers, body)


def _ids(dialect: Dialect, request_id: str, client_request_id: str) -> Headers:
    ours = request_id.encode()
    names = (b"request-id", *dialect.id_headers)
    return [*((name, ours) for name in names), (b"x-request-id", client_request_id.encode() or ours)]


def server_timing(row: LedgerRow) -> bytes:
    """``Server-Timing``: milliseconds spent in the queue, connecting, and until the first byte."""
    parts = (("queue", row.queue_ms), ("connect", row.connect_ms), ("ttfb", row.ttft_ms))
    return ", ".join(f"{name};dur={ms:.1f}" for name, ms in parts if ms is not None).encode()


def _response(status: int, headers: Headers, body: bytes | ClientBody) -> Response:
    response = Response(body, status=status)
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    response.timeout = None
    return response


def _client_request_id(headers: Headers) -> str:
    for name, value in headers:
        if name == b"x-request-id" and 0 < len(value) <= _CLIENT_ID_LENGTH:
            text = value.decode("latin-1")
            return text if _CLIENT_ID_CHARACTERS.issuperset(text) else ""
    return ""
