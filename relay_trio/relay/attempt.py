"""One attempt at one upstream account, made while its slot is held.

An attempt either streams an answer to its end, or fails before the client has seen a byte, which is a value
(``Failure``: another account may be tried), or fails after that, which is an error (the client has to be told).
Only here are verdicts passed on an account's health, and only from what the upstream did.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from relay_trio.api.verdict import Verdict
from relay_trio.errors import (
    ClientStalled,
    UpstreamError,
    UpstreamIdle,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamTruncated,
)
from relay_trio.http import ResponseHead
from relay_trio.outcome import Phase
from relay_trio.relay.asked import Answer

if TYPE_CHECKING:
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.http import Headers
    from relay_trio.pool.account import Account
    from relay_trio.pool.health import AccountChange
    from relay_trio.relay.asked import Asked
    from relay_trio.relay.channel import ChunkSender
    from relay_trio.relay.core import Relay
    from relay_trio.relay.deadline import Limit
    from relay_trio.relay.record import RequestRecord
    from relay_trio.upstream.client import UpstreamResponse

_ERROR_BODY_BYTES = 64 * 1024
"""What is read of an upstream's error body; the rest is closed away."""

_REQUEST_ID_CHARACTERS = 128
"""What the ledger keeps of an upstream's own request id."""

_IN_STREAM_COOLDOWN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed before the client saw a byte.

    ``head`` and ``body`` are the upstream's own answer when it gave one that may be passed on.
    """

    error: UpstreamError
    phase: Phase
    is_retryable: bool
    head: ResponseHead | None = None
    body: bytes = b""


class Attempt:
    """One attempt. ``has_started`` once the client is being sent the answer."""

    def __init__(
        self,
        core: Relay,
        asked: Asked,
        incoming: CheckedRequest,
        exchange: RequestRecord,
        sink: ChunkSender,
        started: trio.TaskStatus[Answer],
    ) -> None:
        self.has_started = False
        self.head: ResponseHead | None = None
        self._core = core
        self._asked = asked
        self._incoming = incoming
        self._exchange = exchange
        self._sink = sink
        self._started = started
        self._connecting_at: float | None = None

    async def run(self, account: Account) -> Failure | None:
        """Try ``account``, whose slot the caller holds. None: the answer was streamed to its end.

        Raises:
            UpstreamError: after the head went to the client.
            ClientStalled: the client stopped reading.

        Cancelled here: destroys; the upstream's connection is closed.
        """
        exchange = self._exchange
        self._connecting_at = None
        exchange.row.attempts += 1
        exchange.row.account, exchange.row.provider = account.name, account.provider.name
        try:
            with exchange.clock.limit() as limit:
                request = account.build_nowait(self._incoming)
                if request is None:
                    self._enter(Phase.CONNECTING, limit, account)
                    request = await account.build(self._incoming)

                def on_phase(phase: Phase) -> None:
                    self._enter(phase, limit, account)

                async with self._core.client.open(request, on_phase) as response:
                    if response.head.status >= 300:
                        return await self._refused(account, response)
                    await self._stream(account, response, limit)
                    return None
        except UpstreamError as error:
            exchange.end_is_seen()
            if self.has_started:
                raise
            self._note(account, Verdict(error, retryable=True, strike=True))
            return Failure(error, exchange.phase, is_retryable=True)
        finally:
            exchange.upstream_closed()

    def _enter(self, phase: Phase, limit: Limit, account: Account) -> None:
        exchange, timeouts = self._exchange, account.timeouts
        exchange.phase = phase
        if phase is Phase.CONNECTING:
            self._connecting_at = trio.current_time()
            seconds = timeouts.connect_timeout_seconds
            limit.arm(seconds, lambda: UpstreamTimeout(f"no connection to the upstream within {seconds:g} seconds"))
        else:
            exchange.row.connect_ms = 0.0 if self._connecting_at is None else exchange.ms_since(self._connecting_at)
            wait = timeouts.first_byte_timeout_seconds
            limit.arm(wait, lambda: UpstreamTimeout(f"no answer from the upstream within {wait:g} seconds"))

    async def _refused(self, account: Account, response: UpstreamResponse) -> Failure:
        """Judge an error status; the client may be sent it, or another account is tried."""
        head = response.head
        body = bytearray()
        while len(body) < _ERROR_BODY_BYTES and (data := await response.receive_some()):
            body += data
        verdict = account.provider.judge(head, bytes(body), time.time())
        self._note(account, verdict)
        self._exchange.end_is_seen()
        translated = account.call_for(self._incoming).error(head, bytes(body)) if verdict.is_passed_through else None
        if translated is not None:
            status, told = translated
            return Failure(verdict.error, Phase.HEAD, verdict.retryable, ResponseHead(status, head.headers), told)
        if verdict.is_passed_through:
            return Failure(verdict.error, Phase.HEAD, verdict.retryable, head, bytes(body[:_ERROR_BODY_BYTES]))
        return Failure(verdict.error, Phase.HEAD, verdict.retryable)

    async def _stream(self, account: Account, response: UpstreamResponse, limit: Limit) -> None:
        exchange, sink, row = self._exchange, self._sink, self._exchange.row
        call = account.call_for(self._incoming)
        meter = call.answer(response.head, self._incoming)
        data = await response.receive_some()  # the answer begins with its first byte: up to here another may be tried
        exchange.meter, exchange.provider = meter, account.provider
        exchange.phase = Phase.DATA
        exchange.first_byte()
        self._announce(account.note_success())
        self._start(account, response.head, call.client_headers(response.head, self._incoming))
        idle_seconds = account.timeouts.idle_timeout_seconds

        def went_idle() -> UpstreamIdle:
            return UpstreamIdle(f"the upstream sent nothing for {idle_seconds:g} seconds")

        while data:
            data = meter.feed(data)
            row.sent_bytes += len(data)
            row.chunks += 1
            while not sink.has_room:
                limit.arm(account.timeouts.write_timeout_seconds, client_stalled)
                await sink.progress()
            if data:
                sink.write(data)
            if not meter.is_error_forwarded and meter.error is not None:
                break  # nothing more comes out of it: the client is told now, whatever the upstream goes on with
            limit.rearm(idle_seconds, went_idle)
            data = await response.receive_some()
        exchange.end_is_seen()
        if meter.error is not None:
            if isinstance(meter.error, UpstreamRateLimited):
                self._note(account, Verdict(meter.error, cooldown_seconds=_IN_STREAM_COOLDOWN_SECONDS))
            else:
                self._note(account, Verdict(meter.error, strike=True))
            raise meter.error
        if not meter.is_complete:
            raise UpstreamTruncated("the upstream ended its stream without the last event of its dialect")

    def _note(self, account: Account, verdict: Verdict) -> None:
        self._announce(account.note(verdict))

    def _announce(self, change: AccountChange | None) -> None:
        if change is not None:
            self._core.events.account_changed(change)

    def _start(self, account: Account, head: ResponseHead, headers: Headers) -> None:
        self.has_started = True
        self.head = head
        self._exchange.row.status = head.status
        self._exchange.row.upstream_request_id = account.provider.request_id(head)[:_REQUEST_ID_CHARACTERS]
        self._started.started(Answer(head.status, headers, self._exchange.row))

    def pass_on(self, failure: Failure, account: Account) -> None:
        """Send the client the upstream's own error answer."""
        assert failure.head is not None
        visible = account.call_for(self._incoming).client_headers(failure.head, self._incoming)
        head = ResponseHead(failure.head.status, visible)
        _, headers, body = self._asked.dialect.passed_on(failure.error, head, failure.body, self._asked.request_id)
        self._start(account, failure.head, [*headers, (b"content-length", str(len(body)).encode())])
        self._sink.write(body)


def client_stalled() -> ClientStalled:
    """What a limit on the client's reading ends a request with."""
    return ClientStalled("the client stopped reading the answer")
