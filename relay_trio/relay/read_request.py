"""Reading a client's request and checking its shape, before anything is spent on it.

Here is checked that the body is one JSON object within limits, where the operation needs one; what the object is for
is read by the operation. Everything else is the upstream's business. A body may be 32 MB and made to be slow, so the
scan goes in windows with a checkpoint after each, and the one call that parses it all runs on a bounded body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from pydantic_core import from_json

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.operation import Affinity
from relay_trio.errors import BadRequest, BodyTooLarge, BodyTooSlow, PermissionDenied
from relay_trio.http import header
from relay_trio.relay.request_encoding import check_encoding, inflated
from relay_trio.settings.patterns import is_match
from relay_trio.wire.json_members import MAX_DEPTH, JsonLimitError, MemberScanner

if TYPE_CHECKING:
    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.api.operation import Reading
    from relay_trio.relay.authenticated_request import AuthenticatedRequest
    from relay_trio.relay.deadline import Limit, RequestClock
    from relay_trio.server.client_request import ClientRequest
    from relay_trio.settings import TimeoutSettings

_WINDOW_BYTES = 64 * 1024
"""Scanned between two checkpoints: at most some 20 ms of one core for the worst JSON there is."""

_MODEL_LOGGED_CHARACTERS = 64


async def read_request(
    request: AuthenticatedRequest, clock: RequestClock, timeouts: TimeoutSettings, max_body_bytes: int
) -> tuple[CheckedRequest, Reading]:
    """The client's request, whole and checked, and what its operation reads out of it.

    Raises:
        BodyTooLarge, BodyTooSlow, UnsupportedEncoding, BadRequest, AuthenticationFailed, PermissionDenied: why it is
            refused.

    Cancelled here: destroys; a body read by half cannot be read again.
    """
    client_request, operation = request.client_request, request.operation
    is_compressed = check_encoding(header(client_request.headers, b"content-encoding"))
    if client_request.body_has_arrived:
        body = await _read_body(client_request, None, timeouts, max_body_bytes)
    else:
        with clock.limit(timeouts.body_idle_timeout_seconds, lambda: _too_slow("stopped arriving", timeouts)) as limit:
            body = await _read_body(client_request, limit, timeouts, max_body_bytes)
    if request.body_check is not None:
        await _check(request.body_check, body)  # a signature is over what was sent
    if is_compressed:
        body = await inflated(body, max_body_bytes)
    reading = operation.read(client_request, request.parameters, await _parse(body) if operation.is_json else {})
    model = reading.model
    if operation.affinity is Affinity.PINNED and "*" not in request.key.models:
        raise PermissionDenied(f"a key for some models cannot use {operation.name}, where any model can be named")
    if model is not None and not is_match(model, request.key.models):
        raise PermissionDenied(f'this key may not use the model "{model[:_MODEL_LOGGED_CHARACTERS]}"')
    checked = CheckedRequest(
        operation.name,
        client_request.method,
        client_request.raw_path,
        request.query,
        client_request.headers,
        body,
        model,
        reading.is_stream,
    )
    return checked, reading


async def _read_body(
    request: ClientRequest, limit: Limit | None, timeouts: TimeoutSettings, max_body_bytes: int
) -> bytes:
    """``limit`` is what is moved as parts arrive; None when all of them have. Cancelled here: as ``read_request``."""
    if request.declared_bytes is not None and request.declared_bytes > max_body_bytes:
        raise _too_large(max_body_bytes)
    parts: list[bytes] = []
    size = 0
    ends_at = trio.current_time() + timeouts.body_total_timeout_seconds
    while True:
        part = await request.receive_body_some()
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > max_body_bytes:
            raise _too_large(max_body_bytes)
        parts.append(part)
        if limit is None:
            continue
        left = ends_at - trio.current_time()
        if left < timeouts.body_idle_timeout_seconds:
            limit.arm(left, lambda: _too_slow("was not whole", timeouts))
        else:
            limit.arm(timeouts.body_idle_timeout_seconds, lambda: _too_slow("stopped arriving", timeouts))


async def _parse(body: bytes) -> dict[str, Any]:
    """A body that is one JSON object within the limits.

    Raises:
        BadRequest: it is not.

    Cancelled here: atomic.
    """
    try:
        if len(body) > _WINDOW_BYTES:
            await _scan(body)
            parsed = from_json(body, allow_inf_nan=False, cache_strings="none")
        else:
            parsed = from_json(body, allow_inf_nan=False, cache_strings="none")
            if not _is_plain(body, parsed):
                await _scan(body)
    except JsonLimitError as error:
        raise BadRequest(f"the body is not acceptable JSON: {error}") from None
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(parsed, dict):
        raise BadRequest("the body must be one JSON object")
    return parsed


async def _check(body_check: BodyCheck, body: bytes) -> None:
    if len(body) > _WINDOW_BYTES:
        await trio.to_thread.run_sync(body_check.check, body, abandon_on_cancel=True)
    else:
        body_check.check(body)


def _is_plain(body: bytes, parsed: object) -> bool:
    """Whether a small body is sound by counting alone, which is nearly always so and twenty times cheaper than a scan.

    It has too few brackets to be deep, no escaped names, and each of its top-level names stands in it once.
    """
    return (
        isinstance(parsed, dict)
        and body.count(b"{") + body.count(b"[") <= MAX_DEPTH
        and b"\\u" not in body
        and all(body.count(b'"%s"' % name.encode()) == 1 for name in parsed)
    )


async def _scan(body: bytes) -> None:
    """Check the structure within limits, in windows.

    Raises:
        BadRequest: a top-level name stands twice, or the body is no object.
        JsonLimitError: too deep, or too many values.

    Cancelled here: atomic.
    """
    scanner = MemberScanner(frozenset())
    for start in range(0, len(body), _WINDOW_BYTES):
        scanner.feed(body[start : start + _WINDOW_BYTES])
        await trio.lowlevel.checkpoint()
    if not scanner.is_object or not scanner.is_whole:
        raise BadRequest("the body must be one JSON object")
    if scanner.duplicates:
        raise BadRequest("the body names a member twice; which one counts would depend on who reads it")


def _too_large(max_body_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_body_bytes} bytes")


def _too_slow(what: str, timeouts: TimeoutSettings) -> BodyTooSlow:
    return BodyTooSlow(
        f"the request body {what} in time: {timeouts.body_idle_timeout_seconds:g} seconds between parts, "
        f"{timeouts.body_total_timeout_seconds:g} seconds in all"
    )
