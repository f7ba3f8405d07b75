"""From a client's request to Quart's response: the pump is started and the head of its answer awaited; an error is
answered in the client's dialect."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from quart import Response

from relay_trio.api.secrets import query_without
from relay_trio.errors import MethodNotAllowed, RelayError
from relay_trio.relay.authenticated_request import AuthenticatedRequest
from relay_trio.relay.channel import ResponseChannel
from relay_trio.relay.events import Rejection
from relay_trio.relay.pump import Answer, new_row, pump
from relay_trio.web.auth import authenticate
from relay_trio.web.client_body import ClientBody

if TYPE_CHECKING:
    from relay_trio.api.dialect import Dialect
    from relay_trio.http import Headers
    from relay_trio.keys.ring import KeyRing
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.relay.core import Relay
    from relay_trio.server.client_request import ClientRequest
    from relay_trio.web.router import Match


_OF_A_STREAM = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""What keeps proxies between us and the client from holding a stream back: nginx collects 16 KB of it otherwise."""


async def relay(core: Relay, ring: KeyRing, request: ClientRequest, match: Match) -> Response:
    """Answer ``request`` for what it matches.

    Cancelled here: destroys; the pump lives in the same nursery and ends with it.
    """
    dialect = match.dialect
    channel = ResponseChannel(request.stream.send_nowait)
    try:
        dialect.check_path(match.parameters)
        query = query_without(dialect.forwarded_query(request.query), dialect.secrets_in(request))
        key, body_check = await authenticate(ring, dialect, request, core.settings)
    except RelayError as error:
        core.events.request_rejected(Rejection(error.kind.value, request.id))
        return error_answer(dialect, error, request)
    authenticated = AuthenticatedRequest(
        client_request=request,
        dialect=dialect,
        operation=match.operation,
        parameters=match.parameters,
        key=key,
        query=query,
        body_check=body_check,
    )
    row = new_row(authenticated)
    try:
        assert request.nursery is not None
        start = partial(pump, core, authenticated, row, channel)
        answer: Answer = await request.nursery.start(start, name=f"pump {request.id}")
    except RelayError as error:
        return error_answer(dialect, error, request, row)
    headers = [*answer.headers, *_own_headers(dialect, request, row)]
    if row.is_stream and answer.status < HTTPStatus.MULTIPLE_CHOICES:
        headers = [*(field for field in headers if field[0] != b"cache-control"), *_OF_A_STREAM]
    return _response(answer.status, headers, ClientBody(channel.receiver))


def error_answer(dialect: Dialect, error: RelayError, request: ClientRequest, row: LedgerRow | None = None) -> Response:
    """An error of ours, in the client's dialect. ``row``: what became of the request so far; None: nothing.

    When the request's body is still arriving, the connection is closed after the answer: what else comes on it could
    be mistaken for the next request, and a client that waits for the connection would wait for ever.
    """
    status, headers, body = dialect.error_response(error, request.id)
    headers = [*headers, *_own_headers(dialect, request, row), (b"content-length", str(len(body)).encode())]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if not request.body_has_arrived:
        headers.append((b"connection", b"close"))
    return _response(status, headers, body)


def _own_headers(dialect: Dialect, request: ClientRequest, row: LedgerRow | None) -> Headers:
    """What every answer has, whoever made it: ids, the number of attempts, and where the time went."""
    ours = request.id.encode()
    return [
        (b"request-id", ours),
        *((name, ours) for name in dialect.id_headers),
        (b"x-request-id", request.client_request_id.encode() or ours),
        (b"x-relay-attempts", b"0" if row is None else b"%d" % row.attempts),
        (b"server-timing", server_timing(row, (time.monotonic() - request.began_at) * 1000)),
    ]


def server_timing(row: LedgerRow | None, total_ms: float) -> bytes:
    """``Server-Timing``: milliseconds spent in the queue, connecting, and until the first byte, as far as the request
    came; and in all, from its head to that of its answer."""
    known = () if row is None else (("queue", row.queue_ms), ("connect", row.connect_ms), ("ttfb", row.ttft_ms))
    parts = (*known, ("total", total_ms))
    return ", ".join(f"{name};dur={ms:.1f}" for name, ms in parts if ms is not None).encode()


def _response(status: int, headers: Headers, body: bytes | ClientBody) -> Response:
    response = Response(body, status=status)
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    response.timeout = None
    return response
