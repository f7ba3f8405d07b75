"""The same connections under httpx's interface, for paths where microseconds do not matter, such as the probe.

The relay itself calls ``UpstreamClient.open``: a request costs about twice as much CPU with ``handle_async_request``
called directly, and four times as much under an ``AsyncClient``. The transport adds no header, and honours limits on
time as httpx defines them: connect, and each wait for bytes. The text of its errors is for operators: it holds
addresses and what the certificate lacked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import httpx2
import trio

from relay_trio.errors import RelayError, UpstreamClosed, UpstreamConnectError, UpstreamProtocolError
from relay_trio.http import UpstreamRequest
from relay_trio.outcome import Phase
from relay_trio.upstream.head_encoding import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay_trio.upstream.client import UpstreamCall, UpstreamClient, UpstreamResponse

_NOT_FORWARDED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})


class TrioTransport(httpx2.AsyncBaseTransport):
    """An httpx transport over ``client``, which stays the caller's to close."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``, its whole body at once, and wait for the head of the answer.

        Raises:
            httpx2.TransportError: as httpx's own transports do.

        Cancelled here: atomic, except that the upstream may have read the request.
        """
        timeout = request.extensions.get("timeout", {})
        read_seconds = _seconds(timeout, "read")
        body = await request.aread()
        call_request = UpstreamRequest(
            method=request.method,
            scheme=request.url.scheme,
            host=request.url.raw_host.decode("ascii"),
            port=request.url.port or DEFAULT_PORTS.get(request.url.scheme, 0),
            target=request.url.raw_path,
            headers=[(name, value) for name, value in request.headers.raw if name.lower() not in _NOT_FORWARDED],
            body=body,
        )
        is_connecting = False

        def on_phase(phase: Phase) -> None:
            nonlocal is_connecting
            is_connecting = phase is Phase.CONNECTING
            seconds = _seconds(timeout, "connect") if is_connecting else read_seconds
            scope.deadline = trio.current_time() + seconds

        call = self._client.open(call_request, on_phase)
        with trio.CancelScope() as scope:
            try:
                answer = await call.__aenter__()
            except RelayError as error:
                raise _httpx_error(error, request) from error
        if scope.cancelled_caught:
            timed_out = httpx2.ConnectTimeout if is_connecting else httpx2.ReadTimeout
            raise timed_out("the upstream took too long", request=request)
        return httpx2.Response(
            answer.head.status,
            headers=answer.head.headers,
            stream=_Body(call, answer, request, read_seconds),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )


class _Body(httpx2.AsyncByteStream):
    def __init__(
        self, call: UpstreamCall, answer: UpstreamResponse, request: httpx2.Request, read_seconds: float
    ) -> None:
        self._call: UpstreamCall | None = call
        self._answer = answer
        self._request = request
        self._read_seconds = read_seconds

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Cancelled here: safe to retry (nothing was lost)."""
        with trio.move_on_after(self._read_seconds):
            try:
                data = await self._answer.receive_some()
            except RelayError as error:
                raise _httpx_error(error, self._request) from error
            if not data:
                raise StopAsyncIteration
            return data
        raise httpx2.ReadTimeout("the upstream was silent for too long", request=self._request)

    async def aclose(self) -> None:
        """Leave the call; may be called twice. No checkpoint. Cancelled here: atomic."""
        call, self._call = self._call, None
        if call is not None:
            await call.__aexit__(None, None, None)


def _seconds(timeout: dict[str, float | None], name: str) -> float:
    seconds = timeout.get(name)
    return math.inf if seconds is None else seconds


def _httpx_error(error: RelayError, request: httpx2.Request) -> httpx2.TransportError:
    kinds: dict[type[RelayError], type[httpx2.TransportError]] = {
        UpstreamConnectError: httpx2.ConnectError,
        UpstreamClosed: httpx2.RemoteProtocolError,
        UpstreamProtocolError: httpx2.RemoteProtocolError,
    }
    return kinds.get(type(error), httpx2.LocalProtocolError)(str(error), request=request)
