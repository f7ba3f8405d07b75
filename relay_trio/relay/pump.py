"""The pump: the one task that reads a request, holds its slot, copies its answer to the response channel, and settles.

::

    request nursery (quart-trio's own)
    ├─ RequestConnection.handle_messages   cancels the nursery when the client disconnects
    ├─ relay(), then ClientBody            waits for the head of the answer, then sends what the channel brings
    └─ pump                                started by ``await nursery.start(pump, …)``
         with sender, RequestRecord:           leaving: settle the row, then close the channel
           read ─ read_request                 R
           try_accounts, for each account:
             _acquire                          Q
             with record.holding(lease):       the slot, held by this block and nothing else
               Attempt.run                     C H D
           flush                               L  (the slot is free already)

An error before the head is raised out of ``nursery.start`` into the handler; after it, it travels down the channel,
because raising it would cancel the client's body before the client has it.

**A client that disconnects** ends its request in one of two ways: its nursery is cancelled, which comes through here as
``Cancelled`` wherever the pump waits; or its response body is given up, and the channel raises ``BrokenResourceError``.
``RequestRecord.judge`` alone says what they mean. The cancellation ends an attempt in the block in ``_attempt``, the
error in the sender that ``Attempt.run`` writes to; everything else only lets them through. So an attempt that is to
outlive its client would need that block shielded, and a sender that discards.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from relay_trio.api.operation import Affinity
from relay_trio.errors import CapacityError, QueueTimeout, RelayError, UpstreamRefused, UpstreamRejected
from relay_trio.http import ResponseHead
from relay_trio.ledger.row import LedgerRow
from relay_trio.outcome import COMPLETED, Phase
from relay_trio.relay.attempt import Attempt, Failure, client_stalled
from relay_trio.relay.chunks import StreamDone, StreamFailed
from relay_trio.relay.read_request import read_request
from relay_trio.relay.record import RequestRecord

if TYPE_CHECKING:
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.model_list import ModelListing
    from relay_trio.http import Headers
    from relay_trio.pool.admission import Lease, SlotRequest
    from relay_trio.relay.authenticated_request import AuthenticatedRequest
    from relay_trio.relay.channel import ResponseChannel
    from relay_trio.relay.core import Relay


_NAMED_DROPPED = 32
"""How many names a response header has of what an upstream does not know."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of the answer, known once the first body byte is there."""

    status: int
    headers: Headers


def new_row(request: AuthenticatedRequest) -> LedgerRow:
    """The row of a request that is about to be served."""
    client_request = request.client_request
    return LedgerRow(
        request_id=client_request.id,
        key_id=request.key.id,
        key_name=request.key.name,
        started_at=time.time(),
        route=request.operation.name,
        client_request_id=client_request.client_request_id,
    )


async def pump(
    relay: Relay,
    request: AuthenticatedRequest,
    row: LedgerRow,
    response: ResponseChannel,
    *,
    task_status: trio.TaskStatus[Answer],
) -> None:
    """Serve one request, from its body to its ``row``, which says how far it came. Started with ``nursery.start``,
    which returns the answer's head.

    Raises:
        RelayError: before the head; the caller answers with it. The row is closed already.

    Cancelled here: destroys, in this order: upstream connection closed, slot given back, row closed, channel closed.
    """
    client_request = request.client_request
    with response.sender as sender, RequestRecord(row, client_request, response, relay.live) as record:
        stages = _Stages(relay, request, record, task_status)
        try:
            checked, slot_request = await stages.read()
            if slot_request is not None:
                await stages.try_accounts(checked, slot_request)
            await stages.flush()
        except trio.BrokenResourceError as error:
            record.ended(record.judge(error))
        except RelayError as error:
            record.ended(record.judge(error))
            if not record.has_begun:
                row.status = request.dialect.status_of(error)
                raise
            sender.fail(stages.failed(error))
        else:
            sender.finish(StreamDone(record.settle_usage()))


def _deciding(former: Failure, latest: Failure | None) -> Failure | None:
    """Of two failures, the one that ends the request: the latest. But that one account has no such model says nothing
    of another that would have served it, if it had not failed."""
    if latest is None or not (latest.is_retryable and isinstance(latest.error, UpstreamRejected)):
        return latest
    return latest if isinstance(former.error, UpstreamRejected | UpstreamRefused) else former


class _Stages:
    """The stages of one request, in order.

    ``await`` costs a step through every frame for each chunk, so the way from ``pump`` to ``Attempt.run`` is short.
    """

    def __init__(
        self,
        relay: Relay,
        request: AuthenticatedRequest,
        record: RequestRecord,
        started: trio.TaskStatus[Answer],
    ) -> None:
        self._relay = relay
        self._request = request
        self._record = record
        self._sender = record.response.sender
        self._started = started

    # --- R ---------------------------------------------------------------------------------------------------------

    async def read(self) -> tuple[CheckedRequest, SlotRequest | None]:
        """The request, and the slot that it needs; None where it was for models, and is answered.

        Whatever is to be decided by what a request asks for, before it waits for a slot, has ``reading`` for it. The
        parsed document in it, which can be much larger than its bytes, is let go here.
        """
        settings, record, operation = self._relay.settings, self._record, self._request.operation
        record.clock.set_total(settings.timeouts.total_timeout_seconds)
        checked, reading = await read_request(
            self._request, record.clock, settings.timeouts, settings.server.max_body_bytes
        )
        record.row.model, record.row.is_stream = reading.model or "", reading.is_stream
        if operation.lists is not None and await self._list(operation.lists, reading.model, checked.query):
            return checked, None
        is_pinned = operation.affinity is Affinity.PINNED
        allowed = self._request.key.models
        return checked, self._relay.admission.new_request(
            reading.model, operation.name, is_pinned=is_pinned, allowed=allowed
        )

    async def _list(self, listing: ModelListing, model: str | None, query: bytes) -> bool:
        """Answer with the models that the client can use, or with the one that it names. False: no list has that, and
        an upstream may still know it by another name.

        Raises:
            NotFound: no account serves any.
            BadRequest: the query requests no page of the list.

        Cancelled here: as ``pump``.
        """
        allowed, operation = self._request.key.models, self._request.operation.name
        self._relay.admission.new_request(None, listing.of)
        if model is not None:
            document = await self._relay.catalog.item(operation, model, allowed)
        else:
            document = listing.page(await self._relay.catalog.items(operation, allowed), query)
        if document is None:
            return False
        body = json.dumps(document, separators=(",", ":")).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self._begin(ResponseHead(200, headers), headers)
        self._sender.write(body)
        return True

    # --- Q C H D ---------------------------------------------------------------------------------------------------

    async def try_accounts(self, checked: CheckedRequest, slot_request: SlotRequest) -> None:
        """Make attempts until one has an answer, or another would not help."""
        failure = await self._attempt(checked, slot_request)
        if failure is not None and self._may_retry(failure, slot_request):
            with self._relay.retry_budget.place(self._relay.settings.retry, len(self._relay.live)) as has_place:
                while has_place and failure is not None and self._may_retry(failure, slot_request):
                    try:
                        failure = _deciding(failure, await self._attempt(checked, slot_request))
                    except CapacityError:
                        break  # of the two errors, the client gets the one of the account that was tried
        if failure is not None:
            self._give_up(failure, checked)

    async def _attempt(self, checked: CheckedRequest, slot_request: SlotRequest) -> Failure | None:
        """Wait for a slot and make one attempt with it. A disconnect ends the attempt in this block or through the
        sender (see above)."""
        record = self._record
        record.phase, record.end_seen_at = Phase.QUEUED, None
        with record.holding(await self._acquire(slot_request)) as account:
            slot_request.tried.add(account.health)
            return await Attempt(self._relay, account, checked, record, self._sender, self._begin).run()

    async def _acquire(self, slot_request: SlotRequest) -> Lease:
        admission, row = self._relay.admission, self._record.row
        queued_before = row.queue_ms or 0.0
        lease = admission.acquire_nowait(slot_request)
        if lease is not None:
            row.queue_ms = queued_before
            return lease
        seconds = self._relay.settings.queue.queue_timeout_seconds
        queued_at = trio.current_time()

        def timed_out() -> QueueTimeout:
            return QueueTimeout(f"no slot came free within {seconds:g} seconds", retry_after=1)

        with self._record.clock.limit(seconds, timed_out):
            lease = await admission.acquire(slot_request)
        row.queue_ms = queued_before + self._record.ms_since(queued_at)
        return lease

    def _may_retry(self, failure: Failure, slot_request: SlotRequest) -> bool:
        retry = self._relay.settings.retry
        return (
            retry.enabled
            and failure.is_retryable
            and self._record.row.attempts < retry.max_attempts
            and self._relay.admission.has_candidate(slot_request)
        )

    def _give_up(self, failure: Failure, checked: CheckedRequest) -> None:
        """End with the last failure: with the upstream's own answer, if it may be passed on.

        Raises:
            UpstreamError: it may not.
        """
        self._record.phase = failure.phase
        if failure.head is None:
            raise failure.error
        self._record.ended(failure.error.outcome_in(Phase.HEAD))
        self._pass_on(failure, failure.head, checked)

    # --- what the client is sent -----------------------------------------------------------------------------------

    def _begin(self, head: ResponseHead, headers: Headers) -> None:
        """Send the client the head of its answer."""
        record = self._record
        record.has_begun = True
        record.row.status = head.status
        if record.dropped:
            headers = [*headers, (b"x-relay-dropped", ", ".join(record.dropped[:_NAMED_DROPPED]).encode())]
        self._started.started(Answer(head.status, headers))

    def _pass_on(self, failure: Failure, head: ResponseHead, checked: CheckedRequest) -> None:
        """Send the client the upstream's own error answer."""
        account = failure.account
        visible = ResponseHead(head.status, account.call_for(checked).client_headers(head, checked))
        request_id = self._request.client_request.id
        _, headers, body = self._request.dialect.passed_on(failure.error, visible, failure.body, request_id)
        self._begin(head, [*headers, (b"content-length", str(len(body)).encode())])
        self._sender.write(body)

    def failed(self, error: RelayError) -> StreamFailed:
        """The end of an answer that had begun: with an error event, unless the upstream's own went out already."""
        reader = self._record.reader
        if reader is None:
            return StreamFailed(error)
        if reader.error is error and reader.is_error_forwarded:
            return StreamFailed(error, is_error_forwarded=True)
        return StreamFailed(
            error, self._request.dialect.closing_event(error, self._request.client_request.id, reader.position)
        )

    # --- L ---------------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Wait until the client has been sent everything."""
        record, seconds = self._record, self._relay.settings.timeouts.write_timeout_seconds
        if record.outcome is None:
            record.phase = Phase.FLUSH
        with record.clock.limit(seconds, client_stalled) as limit:
            while not self._sender.is_flushed:
                await self._sender.progress()
                limit.rearm(seconds, client_stalled)
        if record.outcome is None:
            record.ended(COMPLETED)
