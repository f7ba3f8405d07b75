"""The upstream reader: the one task that reads a request, holds its slot, reads its answer, and settles.

::

    request nursery (quart-trio's own)
    ├─ disconnect watcher          cancels the nursery
    ├─ handler -> body             waits for the answer's head, then drains the hand-over to the client
    └─ pump                        started by `await nursery.start(pump, …)`
         with sink, exchange:                 leaving: settle the row, then close the channel
           read the request                   R
           repeat: wait for a turn            Q
             with turn:                       the slot, held by this block and nothing else
               attempt: connect, head, data   C H D
           wait until the client has it all   L  (the slot is free already)

How it can end, and what each end does to the slot, is one ``with`` in ``_try_accounts``. An error before the head is
raised out of ``nursery.start`` into the handler; after it, it travels down the channel, because raising it would cancel
the client's body before the client was told. A cancellation passes through everything and is judged on the way out.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from relay_trio.api.operation import Affinity
from relay_trio.errors import CapacityError, QueueTimeout, RelayError
from relay_trio.ledger.row import LedgerRow
from relay_trio.outcome import COMPLETED, Phase
from relay_trio.pool.account import is_match
from relay_trio.relay.attempt import Attempt, Failure, client_stalled
from relay_trio.relay.chunks import StreamDone, StreamFailed
from relay_trio.relay.read_request import read_request
from relay_trio.relay.record import RequestRecord

if TYPE_CHECKING:
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.pool.account import Account
    from relay_trio.pool.admission import Lease, SlotRequest
    from relay_trio.relay.asked import Answer, Asked
    from relay_trio.relay.channel import ResponseChannel
    from relay_trio.relay.core import Relay
    from relay_trio.settings import TimeoutSettings


async def pump(core: Relay, asked: Asked, handover: ResponseChannel, *, task_status: trio.TaskStatus[Answer]) -> None:
    """Live one request, from its body to its row. Started with ``nursery.start``, which returns the answer's head.

    Raises:
        RelayError: before the head; the caller tells the client. The row is closed already.

    Cancelled here: destroys, in this order: upstream connection closed, slot given back, row closed, channel closed.
    """
    row = LedgerRow(
        request_id=asked.request_id,
        key_id=asked.key.id,
        started_at=time.time(),
        route=asked.operation.name,
        client_request_id=asked.client_request_id,
    )
    with handover.sender as sink, RequestRecord(row, asked.presence, handover, core.live) as exchange:
        life = _Life(core, asked, exchange, handover)
        try:
            await life.run(task_status)
        except trio.BrokenResourceError:
            exchange.body_is_gone()
        except RelayError as error:
            exchange.ended(error.outcome_in(exchange.phase))
            if life.attempt is None or not life.attempt.has_started:
                row.status = asked.dialect.status_of(error)
                raise
            sink.fail(life.last_word(error))
        else:
            sink.finish(StreamDone(exchange.settle_usage()))


class _Life:
    """The stages of one request, in order."""

    def __init__(self, core: Relay, asked: Asked, exchange: RequestRecord, handover: ResponseChannel) -> None:
        self.attempt: Attempt | None = None
        self._core = core
        self._asked = asked
        self._exchange = exchange
        self._sink = handover.sender

    async def run(self, started: trio.TaskStatus[Answer]) -> None:
        core, exchange, timeouts = self._core, self._exchange, self._core.settings.timeouts
        exchange.clock.set_total(timeouts.total_timeout_seconds)
        incoming = await self._read(timeouts)
        is_pinned = self._asked.operation.affinity is Affinity.PINNED
        want = core.admission.new_request(incoming.model, incoming.operation, is_pinned=is_pinned)
        self.attempt = Attempt(core, self._asked, incoming, exchange, self._sink, started)
        await self._try_accounts(want, self.attempt)
        if exchange.outcome is None:
            exchange.phase = Phase.FLUSH
        with exchange.clock.limit(timeouts.write_timeout_seconds, client_stalled) as limit:
            while not self._sink.is_flushed:
                await self._sink.progress()
                limit.rearm(timeouts.write_timeout_seconds, client_stalled)
        if exchange.outcome is None:
            exchange.ended(COMPLETED)

    async def _read(self, timeouts: TimeoutSettings) -> CheckedRequest:
        """The request. Its parsed document, which can be much larger than its bytes, is let go here."""
        exchange, operation = self._exchange, self._asked.operation
        max_body_bytes = self._core.settings.server.max_body_bytes
        incoming, reading = await read_request(self._asked, exchange.clock, timeouts, max_body_bytes)
        exchange.row.model, exchange.row.is_stream = reading.model or "", reading.is_stream
        if operation.lists is not None and reading.model is None and incoming.method == "GET":  # HEAD has no list
            return replace(incoming, is_listed=partial(self._is_listed, operation.lists))
        return incoming

    def _is_listed(self, operation: str, model: str) -> bool:
        """Whether a model can be asked for: some account serves it, and the key may use it."""
        return is_match(model, self._asked.key.models) and self._core.admission.serves(model, operation)

    async def _try_accounts(self, want: SlotRequest, attempt: Attempt) -> None:
        exchange, retry = self._exchange, self._core.settings.retry
        failure: Failure | None = None
        account: Account | None = None
        queued_seconds = 0.0
        with ExitStack() as budget:
            while True:
                exchange.phase = Phase.QUEUED
                queued_at = trio.current_time()
                try:
                    turn = await self._wait_turn(want)
                except CapacityError:
                    if failure is None:
                        raise
                    break
                queued_seconds += trio.current_time() - queued_at
                exchange.row.queue_ms = queued_seconds * 1000
                try:
                    with turn as account:
                        exchange.attempt_account = account
                        try:
                            failure = await attempt.run(account)
                        finally:
                            exchange.attempt_account = None
                finally:
                    exchange.slot_released()
                if failure is None:
                    return
                want.tried.add(account.name)
                if (
                    not (retry.enabled and failure.is_retryable)
                    or exchange.row.attempts >= retry.max_attempts
                    or not self._core.admission.has_candidate(want)
                ):
                    break
                if exchange.row.attempts == 1 and not budget.enter_context(
                    self._core.admission.retrying(
                        live=len(self._core.live), ratio=retry.budget_ratio, at_least=retry.budget_min_concurrent
                    )
                ):
                    break
                exchange.end_seen_at = None
        exchange.phase = failure.phase
        if failure.head is None or account is None:
            raise failure.error
        exchange.ended(failure.error.outcome_in(Phase.HEAD))
        attempt.pass_on(failure, account)

    async def _wait_turn(self, want: SlotRequest) -> Lease:
        turn = self._core.admission.acquire_nowait(want)
        if turn is not None:
            return turn
        seconds = self._core.settings.queue.queue_timeout_seconds

        def timed_out() -> QueueTimeout:
            return QueueTimeout(f"no slot came free within {seconds:g} seconds", retry_after=1)

        with self._exchange.clock.limit(seconds, timed_out):
            return await self._core.admission.acquire(want)

    def last_word(self, error: RelayError) -> StreamFailed:
        """How the client is told, inside the stream."""
        meter = self._exchange.meter
        if meter is None:
            return StreamFailed(error)
        if meter.error is error and meter.is_error_forwarded:
            return StreamFailed(error, is_error_forwarded=True)
        event = self._asked.dialect.closing_event(error, self._asked.request_id, meter.position)
        return StreamFailed(error, event)
