"""One attempt at one upstream account, made while its slot is held.

An attempt either streams an answer to its end, or fails before the client has seen a byte, which is a value
(``Failure``: another account may be tried), or fails after that, which is an error (it goes into the stream). However
it ends, ``run`` reports it. Only here are verdicts passed on an account, and only from what the upstream did.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from relay_trio.api.answer_reader import Ending
from relay_trio.api.verdict import verdict_in_stream, verdict_without_answer
from relay_trio.errors import (
    ClientStalled,
    UpstreamError,
    UpstreamIdle,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
)
from relay_trio.http import ResponseHead, header
from relay_trio.ledger.row import AttemptRecord
from relay_trio.outcome import Phase, Word
from relay_trio.relay.pings import Pings

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.verdict import Verdict
    from relay_trio.http import Headers
    from relay_trio.pool.account import Account
    from relay_trio.pool.health import AccountChange
    from relay_trio.relay.channel import ChunkSender
    from relay_trio.relay.core import Relay
    from relay_trio.relay.deadline import Limit
    from relay_trio.relay.record import RequestRecord
    from relay_trio.upstream.client import UpstreamCall, UpstreamResponse

    Begin = Callable[[ResponseHead, Headers], None]
    """Send the client the head of its answer: the upstream's, with the headers that the client may see."""

_REQUEST_ID_CHARACTERS = 128
"""What the ledger keeps of an upstream's own request id."""

_ERROR_BODY_BYTES = 64 * 1024
"""What is read of an upstream's error body; the rest is closed away."""

_BEGINNING_SECONDS = 2.0
"""How long after the head of an answer its first event may be awaited, once a part of it has come. An answer that has
shown nothing but pings goes on waiting, by the limit for the first byte."""

_BEGINNING_BYTES = 64 * 1024
"""What is held of an answer while its first event is awaited."""

_LARGE_BYTES = 64 * 1024
"""The most that is handed to the response channel at once: its bound counts on it."""

_END_SECONDS = 1.0
"""How long more is awaited of an answer that is complete, where its dialect has no last event."""


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

    ``begin`` is called once, when the first event of the answer is there.
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
        self._call_made: UpstreamCall | None = None
        self._status: int | None = None
        self._may_end_here = False

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

                self._call_made = self._relay.client.open(request, on_phase)
                async with self._call_made as response:
                    self._status = response.head.status
                    row.upstream_request_id = account.provider.request_id(response.head)[:_REQUEST_ID_CHARACTERS]
                    if response.head.status < 300:
                        await self._stream(response, limit)
                    else:
                        failure = await self._refused(response)
        except UpstreamError as error:
            record.end_is_seen()
            if not record.has_begun:
                verdict = verdict_without_answer(error)
                self._note(verdict)
                failure = Failure(error, account, record.phase, verdict.is_retryable and not self._is_accepted(error))
            elif (fault := self._fault_midway(error)) is not None:
                self._ended(fault.word)
                raise fault from None
        except BaseException as error:
            self._ended(record.judge(error).word)
            raise
        finally:
            record.upstream_closed()
        self._ended(Word.COMPLETED if failure is None else failure.error.word)
        return failure

    def _fault_midway(self, error: UpstreamError) -> UpstreamError | None:
        """What was wrong with an answer that had begun and ended with ``error``: an error that the upstream reported
        before that; or nothing, where it was complete already."""
        reader = self._record.reader
        assert reader is not None
        if reader.error is not None:
            self._note(verdict_in_stream(reader.error))
            return reader.error
        return None if reader.is_complete and self._may_end_here else error

    def _is_accepted(self, error: UpstreamError) -> bool:
        """Whether the upstream may still be working at a whole answer, which it has not sent in time. Another account
        would be paid a second time. The work for a stream ends with its connection."""
        return (
            isinstance(error, UpstreamTimeout)
            and not self._checked.is_stream
            and self._call_made is not None
            and self._call_made.is_sent
            and not self._relay.settings.retry.after_timeout
        )

    def _enter(self, phase: Phase, limit: Limit) -> None:
        record, timeouts = self._record, self._account.timeouts
        record.phase = phase
        if phase is Phase.CONNECTING:
            self._connecting_at = trio.current_time()
            seconds = timeouts.connect_timeout_seconds
            limit.arm(seconds, lambda: UpstreamTimeout(f"no connection to the upstream within {seconds:g} seconds"))
        else:
            record.row.connect_ms = 0.0 if self._connecting_at is None else record.ms_since(self._connecting_at)
            is_whole = not self._checked.is_stream and self._checked.method == "POST"
            wait = timeouts.whole_answer_timeout_seconds if is_whole else timeouts.first_byte_timeout_seconds
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

    async def _beginning(self, response: UpstreamResponse, reader: AnswerReader) -> bytes:
        """Read until the upstream shows that it answers, which is the first event of substance; what came till then is
        for the client. Up to here another account may be tried, because the client has seen nothing.

        Raises:
            UpstreamError: the answer ended before that, is an error, or is none.

        Cancelled here: as ``run``.
        """
        held = b""
        due_at = trio.current_time() + _BEGINNING_SECONDS
        while not reader.has_substance:
            is_due = not held or trio.current_time() >= due_at
            if len(held) > _BEGINNING_BYTES or (is_due and held and reader.has_begun):
                break
            with trio.CancelScope(deadline=math.inf if is_due else due_at) as waiting:
                data = await response.receive_some()
            if waiting.cancelled_caught:
                continue
            if data:
                held += reader.feed(data)
                self._record.row.chunks += 1
            error = None if reader.has_substance else reader.error
            if error is not None:
                if isinstance(error, UpstreamRejected) and reader.is_error_forwarded:
                    break  # the client's own error, in the upstream's words
                raise error
            if not data and not reader.is_complete:
                raise UpstreamTruncated("the upstream ended its answer before the first event")
            if not data:
                break
        return held

    async def _stream(self, response: UpstreamResponse, limit: Limit) -> None:
        """Copy the answer to the response channel, to its end. Cancelled here: as ``run``."""
        account, record, sender, row = self._account, self._record, self._sender, self._record.row
        call = account.call_for(self._checked)
        reader = call.answer(response.head, self._checked)
        data = await self._beginning(response, reader)
        record.reader, record.answered_by = reader, account
        record.phase = Phase.DATA
        record.first_byte()
        self._announce(account.note_success())
        headers = call.client_headers(response.head, self._checked)
        self._may_end_here = header(headers, b"content-length") is None
        self._begin(response.head, headers)
        idle_seconds = account.timeouts.idle_timeout_seconds

        def went_idle() -> UpstreamIdle:
            return UpstreamIdle(f"the upstream sent nothing for {idle_seconds:g} seconds")

        with Pings(call.ping if self._checked.is_stream else b"", record.nursery, reader, sender, row):
            while True:
                row.sent_bytes += len(data)
                if len(data) > _LARGE_BYTES:
                    data = await self._send_large(data, limit)
                if not sender.has_room:
                    await self._wait_for_room(limit)
                if data:
                    sender.write(data)
                ending = reader.ending
                if ending is Ending.OPEN:
                    limit.rearm(idle_seconds, went_idle)
                elif ending is Ending.DUE:
                    limit.rearm(_END_SECONDS, did_not_end)
                else:
                    response.end_early()  # nothing more comes, whatever the upstream goes on with
                    break
                data = await response.receive_some()
                if not data:
                    break
                row.chunks += 1
                data = reader.feed(data)
        record.end_is_seen()
        if reader.error is not None:
            raise reader.error
        if not reader.is_complete:
            raise UpstreamTruncated("the upstream ended its stream without the last event of its dialect")

    async def _send_large(self, data: bytes, limit: Limit) -> bytes:
        """Send all but the last part of what is more than one read can bring, as the client takes it: a translated
        event may be as long as it likes. Returns the last part. Cancelled here: as ``run``."""
        sender, view = self._sender, memoryview(data)
        last = (len(data) - 1) // _LARGE_BYTES * _LARGE_BYTES
        for start in range(0, last, _LARGE_BYTES):
            if not sender.has_room:
                await self._wait_for_room(limit)
            sender.write(bytes(view[start : start + _LARGE_BYTES]))
        return data[last:]

    async def _wait_for_room(self, limit: Limit) -> None:
        """Wait until the client has taken enough. Cancelled here: as ``run``."""
        while not self._sender.has_room:
            limit.arm(self._account.timeouts.write_timeout_seconds, client_stalled)
            await self._sender.progress()

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


def did_not_end() -> UpstreamIdle:
    """What a limit on the end of a body ends a request with whose content is not complete."""
    return UpstreamIdle("the upstream did not end its answer")


def client_stalled() -> ClientStalled:
    """What a limit on the client's reading ends a request with."""
    return ClientStalled("the client stopped reading the answer")
