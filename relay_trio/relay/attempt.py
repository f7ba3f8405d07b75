"""One attempt at one upstream account, made while its slot is held.

An attempt either streams an answer to its end, or fails before the client has seen a byte, which is a value
(``Failure``: another account may be tried), or fails after that, which is an error (it goes into the stream). However
it ends, ``run`` reports it. Only here are verdicts passed on an account, and only from what the upstream did.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from relay_trio.api.verdict import verdict_in_stream, verdict_without_answer
from relay_trio.errors import (
    ClientStalled,
    UpstreamError,
    UpstreamIdle,
    UpstreamTimeout,
    UpstreamTruncated,
)
from relay_trio.http import ResponseHead
from relay_trio.ledger.row import AttemptRecord
from relay_trio.outcome import Phase, Word
from relay_trio.relay.pings import Pings

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.verdict import Verdict
    from relay_trio.http import Headers
    from relay_trio.pool.account import Account
    from relay_trio.pool.health import AccountChange
    from relay_trio.relay.channel import ChunkSender
    from relay_trio.relay.core import Relay
    from relay_trio.relay.deadline import Limit
    from relay_trio.relay.record import RequestRecord
    from relay_trio.upstream.client import UpstreamResponse

    Begin = Callable[[ResponseHead, Headers], None]
    """Send the client the head of its answer: the upstream's, with the headers that the client may see."""

_REQUEST_ID_CHARACTERS = 128
"""What the ledger keeps of an upstream's own request id."""

_ERROR_BODY_BYTES = 64 * 1024
"""What is read of an upstream's error body; the rest is closed away."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed before the client saw a byte.

    ``head`` and ``body`` are the upstream's own answer when it gave one that may be passed on.
    """

    error: UpstreamError
    account: Account
    phase: Phase
    is_retryable: bool
    head: ResponseHead | None = None
    body: bytes = b""


class Attempt:
    """One attempt at ``account``, whose slot the caller holds: made for one ``run``.

    ``begin`` is called once, when the first byte of the answer is there.
    """

    def __init__(
        self,
        relay: Relay,
        account: Account,
        checked: CheckedRequest,
        record: RequestRecord,
        sender: ChunkSender,
        begin: Begin,
    ) -> None:
        self._relay = relay
        self._account = account
        self._checked = checked
        self._record = record
        self._sender = sender
        self._begin = begin
        self._began_at = trio.current_time()
        self._connecting_at: float | None = None
        self._status: int | None = None

    async def run(self) -> Failure | None:
        """Make the attempt. None: the answer was streamed to its end.

        Raises:
            UpstreamError: after the head went to the client.
            ClientStalled: the client stopped reading.
            trio.BrokenResourceError: the response body was given up.

        Cancelled here: destroys; the upstream's connection is closed.
        """
        account, record, row = self._account, self._record, self._record.row
        row.attempts += 1
        row.account, row.provider = account.name, account.provider.name
        row.upstream_request_id = ""
        failure: Failure | None = None
        try:
            with record.clock.limit() as limit:
                request = account.build_nowait(self._checked)
                if request is None:
                    self._enter(Phase.CONNECTING, limit)
                    request = await account.build(self._checked)
                if request.dropped is not record.dropped:
                    record.sent_without(request.dropped)

                def on_phase(phase: Phase) -> None:
                    self._enter(phase, limit)

                async with self._relay.client.open(request, on_phase) as response:
                    self._status = response.head.status
                    row.upstream_request_id = account.provider.request_id(response.head)[:_REQUEST_ID_CHARACTERS]
                    if response.head.status < 300:
                        await self._stream(response, limit)
                    else:
                        failure = await self._refused(response)
        except UpstreamError as error:
            record.end_is_seen()
            if record.has_begun:
                self._ended(error.word)
                raise
            self._note(verdict_without_answer(error))
            failure = Failure(error, account, record.phase, is_retryable=True)
        except BaseException as error:
            self._ended(record.judge(error).word)
            raise
        finally:
            record.upstream_closed()
        self._ended(Word.COMPLETED if failure is None else failure.error.word)
        return failure

    def _enter(self, phase: Phase, limit: Limit) -> None:
        record, timeouts = self._record, self._account.timeouts
        record.phase = phase
        if phase is Phase.CONNECTING:
            self._connecting_at = trio.current_time()
            seconds = timeouts.connect_timeout_seconds
            limit.arm(seconds, lambda: UpstreamTimeout(f"no connection to the upstream within {seconds:g} seconds"))
        else:
            record.row.connect_ms = 0.0 if self._connecting_at is None else record.ms_since(self._connecting_at)
            wait = timeouts.first_byte_timeout_seconds
            limit.arm(wait, lambda: UpstreamTimeout(f"no answer from the upstream within {wait:g} seconds"))

    async def _refused(self, response: UpstreamResponse) -> Failure:
        """Judge an error status; the client may be sent it, or another account is tried. Cancelled here: as ``run``."""
        account, head = self._account, response.head
        received = bytearray()
        while len(received) < _ERROR_BODY_BYTES and (data := await response.receive_some()):
            received += data
        verdict = account.provider.judge(head, bytes(received), time.time())
        self._note(verdict)
        self._record.end_is_seen()
        error, is_retryable = verdict.error, verdict.is_retryable
        if not verdict.is_passed_through:
            return Failure(error, account, Phase.HEAD, is_retryable)
        translated = account.call_for(self._checked).error(head, bytes(received))
        if translated is not None:
            status, body = translated
            return Failure(error, account, Phase.HEAD, is_retryable, ResponseHead(status, head.headers), body)
        return Failure(error, account, Phase.HEAD, is_retryable, head, bytes(received[:_ERROR_BODY_BYTES]))

    async def _stream(self, response: UpstreamResponse, limit: Limit) -> None:
        """Copy the answer to the response channel, to its end. Cancelled here: as ``run``."""
        account, record, sender, row = self._account, self._record, self._sender, self._record.row
        call = account.call_for(self._checked)
        reader = call.answer(response.head, self._checked)
        data = await response.receive_some()  # the answer begins with its first byte: up to here another may be tried
        record.reader, record.answered_by = reader, account
        record.phase = Phase.DATA
        record.first_byte()
        self._announce(account.note_success())
        self._begin(response.head, call.client_headers(response.head, self._checked))
        idle_seconds = account.timeouts.idle_timeout_seconds

        def went_idle() -> UpstreamIdle:
            return UpstreamIdle(f"the upstream sent nothing for {idle_seconds:g} seconds")

        with Pings(call.ping if self._checked.is_stream else b"", record.nursery, reader, sender, row):
            while data:
                data = reader.feed(data)
                row.sent_bytes += len(data)
                row.chunks += 1
                while not sender.has_room:
                    limit.arm(account.timeouts.write_timeout_seconds, client_stalled)
                    await sender.progress()
                if data:
                    sender.write(data)
                if not reader.is_error_forwarded and reader.error is not None:
                    break  # nothing more comes out: the client gets the error now, whatever the upstream goes on with
                limit.rearm(idle_seconds, went_idle)
                data = await response.receive_some()
        record.end_is_seen()
        if reader.error is not None:
            self._note(verdict_in_stream(reader.error))
            raise reader.error
        if not reader.is_complete:
            raise UpstreamTruncated("the upstream ended its stream without the last event of its dialect")

    # --- what is reported -----------------------------------------------------------------------------------------

    def _note(self, verdict: Verdict) -> None:
        self._announce(self._account.note(verdict))

    def _announce(self, change: AccountChange | None) -> None:
        if change is not None and self._relay.pool.has(self._account):
            self._relay.events.account_changed(change)

    def _ended(self, reason: Word) -> None:
        record = self._record
        duration_ms = record.ms_since(self._began_at)
        ended = AttemptRecord(self._account.name, record.phase, reason, self._status, duration_ms)
        if ended.has_failed:
            record.row.attempt_log += (ended,)
        self._relay.events.attempt_ended(record.row.request_id, ended)


def client_stalled() -> ClientStalled:
    """What a limit on the client's reading ends a request with."""
    return ClientStalled("the client stopped reading the answer")
