"""One request as the relay sees it: phase, clocks, attempts, and its one ledger row.

The pump enters a record before anything that can fail, and leaves it after everything else. Leaving it settles: the row
is closed with the outcome, exactly once, synchronously, whatever ended the request. Nobody else opens or closes rows.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import trio

from relay_trio.errors import RelayError
from relay_trio.ledger.prices import cost_of, cost_of_parts, price_lists
from relay_trio.outcome import (
    DisconnectReason,
    Outcome,
    Phase,
    Who,
    Word,
    ended_by_client,
    ended_by_defect,
    ended_by_shutdown,
)
from relay_trio.relay.deadline import RequestClock
from relay_trio.usage import NO_USAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.pool.account import Account
    from relay_trio.pool.admission import Lease
    from relay_trio.relay.channel import ResponseChannel
    from relay_trio.relay.live import LiveRequests
    from relay_trio.server.client_request import ClientRequest
    from relay_trio.usage import UsageStats

CLIENT_LEFT_STATUS = 499
"""nginx's status for a client that left before it was answered. Only ever written to the ledger and the log."""


_CANCELLED_BY = {Who.CLIENT: "client", Who.CLIENT_TIMEOUT: "client", Who.DRAIN: "shutdown"}
"""``cancelled_by`` for each who ends a request; ``relay`` for all others."""


class RequestRecord:
    """The state of one request. Written by the pump alone; read by the admin pages."""

    def __init__(self, row: LedgerRow, request: ClientRequest, response: ResponseChannel, live: LiveRequests) -> None:
        self.row = row
        self.phase = Phase.READING
        self.clock = RequestClock()
        self.response = response
        self.has_begun = False
        """Whether the client was sent the head of its answer."""
        self.attempt_account: Account | None = None
        """The account of the upstream attempt that lives now: set exactly while its slot is held."""
        self.reader: AnswerReader | None = None
        self.answered_by: Account | None = None
        """Whose answer the reader reads, and whose prices it has."""
        self.dropped: tuple[str, ...] = ()
        """What of the client's request the last attempt's lacks."""
        self.opened_at = trio.current_time()
        self.end_seen_at: float | None = None
        """When the end was known: the disconnect, the deadline, the last byte."""
        self._request = request
        self._live = live
        self._outcome: Outcome | None = None
        self._is_usage_settled = False

    @property
    def nursery(self) -> trio.Nursery | None:
        """The request's own nursery, which is cancelled when its client disconnects."""
        return self._request.nursery

    def __enter__(self) -> Self:
        self._live.open(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = self._outcome
        if outcome is None:
            outcome = self.judge(error)
            if _is_cancellation(error):
                self.row.cancelled_by = _CANCELLED_BY.get(outcome.who, "relay")
        self.row.outcome = outcome
        if self.row.status is None and outcome.who in (Who.CLIENT, Who.DRAIN):
            self.row.status = CLIENT_LEFT_STATUS
        self.row.duration_ms = self.ms_since(self.opened_at)
        self.settle_usage()
        self._live.close(self)

    @property
    def outcome(self) -> Outcome | None:
        """How the request ended, once the pump has said so."""
        return self._outcome

    # --- what the pump reports ------------------------------------------------------------------------------------

    def ended(self, outcome: Outcome) -> None:
        """The request has ended like this, whatever happens to it from now on."""
        self._outcome = outcome

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[Account]:
        """Hold the slot of ``lease`` for an attempt. Nothing else in the relay takes a slot or gives one back."""
        try:
            with lease as account:
                self.attempt_account = account
                try:
                    yield account
                finally:
                    self.attempt_account = None
        finally:
            self.row.release_ms = self._ms_since_end()

    def sent_without(self, dropped: tuple[str, ...]) -> None:
        """The request of this attempt lacks ``dropped`` of the client's. The row has what stands before a colon."""
        self.dropped = dropped
        self.row.dropped = ",".join(dict.fromkeys(name.partition(":")[0] for name in dropped))

    def end_is_seen(self) -> None:
        """The attempt's end is known now: from here on is counted how long its release takes. Only the first call
        counts."""
        if self.end_seen_at is None:
            self.end_seen_at = trio.current_time()

    def upstream_closed(self) -> None:
        """The attempt's connection to the upstream is closed, or idle again."""
        self.row.upstream_close_ms = self._ms_since_end()

    def first_byte(self) -> None:
        """The first body byte, or the end of an empty body, came from the upstream."""
        self.row.ttft_ms = self.ms_since(self.opened_at)

    def settle_usage(self) -> UsageStats:
        """Put the usage of the answer and its price into the row, once; nothing of the answer is read after that."""
        if not self._is_usage_settled:
            self._is_usage_settled = True
            usage = self.reader.finish() if self.reader is not None else NO_USAGE
            self.row.usage = usage if self._is_booked_here(usage) else NO_USAGE
            self._settle_cost()
        return self.row.usage

    def ms_since(self, moment: float) -> float:
        """Milliseconds since ``moment`` of the trio clock."""
        return (trio.current_time() - moment) * 1000

    def _is_booked_here(self, usage: UsageStats) -> bool:
        """Whether ``usage`` belongs into this row. That of a batch does once: with the first results that were sent
        whole, because a batch costs the same however often it is looked at."""
        batch_id = usage.details.batch_id
        if not batch_id:
            return True
        is_whole = self._outcome is not None and self._outcome.word is Word.COMPLETED
        return is_whole and self._live.book_batch(batch_id)

    def _settle_cost(self) -> None:
        """What the row's tokens cost. Where the price lists fail, the row is worth more than its price."""
        row, account = self.row, self.answered_by
        if account is None:
            return
        provider, settings, usage = account.provider, account.settings, row.usage
        try:
            if usage.parts:
                priced = [(provider.price_of(settings, part.model), part) for part in usage.parts]
                cost = cost_of_parts(priced, at=row.started_at)
            else:
                cost = cost_of(provider.price_of(settings, row.model), usage, at=row.started_at)
        except Exception:  # `usage` counts it among the unpriced
            return
        row.cost_usd, row.cost_note = cost.usd, cost.note
        if cost.usd is not None:
            row.prices_of = price_lists().newest

    # --- settlement -----------------------------------------------------------------------------------------------

    def judge(self, error: BaseException | None) -> Outcome:
        """How the request ends, if ``error`` is what ends it in this phase. Changes nothing.

        A cancellation, and a response body that was given up, are the client's doing if it has left by then, or was
        cut because it broke the protocol.
        """
        if isinstance(error, RelayError):
            return error.outcome_in(self.phase)
        is_cancellation, lost_by = _is_cancellation(error), self._request.disconnect_reason
        if (is_cancellation or isinstance(error, trio.BrokenResourceError)) and lost_by is not None:
            if lost_by.is_timeout:
                return Outcome(Word.CLIENT_TIMEOUT, Who.CLIENT_TIMEOUT, self.phase)
            if lost_by is DisconnectReason.MISBEHAVED:
                return Outcome(Word.REJECTED_REQUEST, Who.POLICY, self.phase)
            return ended_by_client(self.phase)
        if is_cancellation and self._live.is_stopping:
            return ended_by_shutdown(self.phase)
        return ended_by_defect(self.phase)

    def _ms_since_end(self) -> float:
        lost_at = self._request.disconnected_at
        seen = lost_at if lost_at is not None else self.end_seen_at
        return self.ms_since(seen if seen is not None else trio.current_time())


def _is_cancellation(error: BaseException | None) -> bool:
    """Whether ``error`` is a cancellation; one that passed a nursery (connecting uses one) comes in a group."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
