"""The demo's closing account: each kind of disagreement is found and named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.demo.audit import audit, read_rows
from relay_trio.demo.clients import Sent
from relay_trio.ledger.row import LedgerRow
from relay_trio.ledger.writer import open_ledger
from relay_trio.outcome import COMPLETED, Outcome, Phase, Who, Word, ended_by_client, ended_by_defect
from relay_trio.simulator import ServedRequest, Usage
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats

if TYPE_CHECKING:
    from pathlib import Path


def row(**values: Any) -> LedgerRow:
    """A completed row of the request ``demo-0``, but for ``values``."""
    usage = UsageStats(3, 5, source=UsageSource.EXACT)
    row = LedgerRow("req_1", "k_1", 1.0, "messages", provider="anthropic", outcome=COMPLETED, status=200, usage=usage)
    return replace(row, **{"client_request_id": "demo-0", "upstream_request_id": "up_1", **values})


def used(source: UsageSource, *, output: int = 5, cache_read: int = 0) -> UsageStats:
    return UsageStats(3, output, 0, cache_read, source)


def sent(**values: Any) -> Sent:
    """A request that was answered whole, but for ``values``."""
    content: dict[str, Any] = {"is_admitted": True, "status": 200, "is_whole": True, "is_finished": True}
    return Sent("demo-0", **(content | values))


def served(output_tokens: int = 5, *, fault: str = "") -> ServedRequest:
    usage = Usage(3, output_tokens, 0, 0)
    return ServedRequest("up_1", "POST", b"/v1/messages", [], b"", 0.0, 1, usage=usage, fault=fault)


def test_three_witnesses_that_agree_make_no_problem() -> None:
    found = audit([sent()], [row()], [served()])
    assert found.problems == ()
    assert (found.requests, found.rows, found.completed, found.gone, found.failed) == (1, 1, 1, 0, 0)


def test_more_failures_than_faults_are_a_problem() -> None:
    """The demo says that its failures were injected, so it has to know."""
    failed = row(outcome=Outcome(Word.UPSTREAM_ERROR, Who.UPSTREAM, Phase.DATA), usage=NO_USAGE)
    assert audit([sent()], [failed], [served(fault="reset")]).problems == ()
    found = audit([sent()], [failed], [served()])
    assert found.failed == 1
    assert found.problems == ("1 requests failed, more than faults were injected: req_1",)


def test_a_request_that_found_no_slot_has_not_failed() -> None:
    found = audit([sent()], [row(outcome=Outcome(Word.REJECTED_CAPACITY, Who.RELAY, Phase.QUEUED), usage=NO_USAGE)], [])
    assert (found.refused, found.failed, found.problems) == (1, 0, ())


def test_a_client_that_left_before_it_was_read_needs_no_row() -> None:
    found = audit([Sent("demo-0", has_left=True)], [], [])
    assert found.problems == ()
    assert (found.requests, found.unread) == (0, 1)


def test_rows_of_strangers_are_not_counted_but_looked_at() -> None:
    assert audit([], [row(client_request_id="")], [served()]).rows == 0
    assert audit([], [row(client_request_id="")], [served(6)]).problems != ()


@pytest.mark.parametrize(
    ("request_seen", "rows", "tokens_served", "problem"),
    [
        (sent(), [], 5, "1 requests with 0 rows: demo-0"),
        (sent(), [row(), row(request_id="req_2")], 5, "1 requests with 2 rows: demo-0"),
        (Sent("demo-0"), [], 5, "1 requests without an answer: demo-0"),
        (sent(is_finished=False), [row()], 5, "1 streams that ended cleanly without their last event: demo-0"),
        (sent(is_whole=False), [row()], 5, "1 answers said to be complete that were cut: demo-0"),
        (sent(), [row(outcome=ended_by_client(Phase.DATA))], 5, "1 clients said to have left that had not: demo-0"),
        (sent(status=429), [row()], 5, "1 rows with another status than the client saw: demo-0"),
        (sent(is_held_open=True), [row()], 5, "1 half-closed connections held open: demo-0"),
        (sent(), [row(outcome=None)], 5, "1 rows left open: req_1"),
        (sent(), [row(outcome=ended_by_defect(Phase.DATA))], 5, "1 internal errors (ID): req_1"),
        (sent(), [row()], 6, "1 exact rows that differ from what was served: req_1"),
        (sent(), [row(usage=used(UsageSource.PARTIAL))], 4, "1 rows with more tokens than were served: req_1"),
        (sent(), [row(usage=used(UsageSource.PARTIAL))], 5, "1 completed requests without exact tokens: req_1"),
        (sent(), [row(usage=used(UsageSource.NONE))], 5, "1 completed requests without exact tokens: req_1"),
        (sent(), [row(upstream_request_id="up_2")], 5, "1 rows with tokens that no upstream served: req_1"),
    ],
)
def test_each_disagreement_is_named(
    request_seen: Sent, rows: list[LedgerRow], tokens_served: int, problem: str
) -> None:
    assert problem in audit([request_seen], rows, [served(tokens_served)]).problems


def test_an_answer_that_the_upstream_damaged_need_not_be_counted() -> None:
    assert audit([sent()], [row(usage=used(UsageSource.NONE))], [served(fault="malformed")]).problems == ()


def test_exact_tokens_are_summed_for_each_provider() -> None:
    """Those of rows that are not exact are in no sum: they are fewer than were served."""
    rows = [
        row(),
        row(request_id="req_2", client_request_id="", usage=used(UsageSource.EXACT, output=4)),
        row(request_id="req_3", client_request_id="", provider="gemini", usage=used(UsageSource.EXACT, cache_read=2)),
        row(request_id="req_4", client_request_id="", provider="gemini", usage=used(UsageSource.PARTIAL)),
        row(request_id="req_5", client_request_id="", provider="bedrock", usage=used(UsageSource.NONE)),
    ]
    assert audit([sent()], rows, []).tokens == {"anthropic": 15, "gemini": 10}


def test_many_of_a_kind_are_one_line_with_a_few_ids() -> None:
    requests = [Sent(f"demo-{number}", is_admitted=True, status=200) for number in range(5)]
    assert audit(requests, [], []).problems == ("5 requests with 0 rows: demo-0, demo-1, demo-2, …",)


async def test_rows_are_read_from_a_real_ledger(tmp_path: Path) -> None:
    async with open_ledger(tmp_path / "relay.db") as ledger:
        made = LedgerRow("req_1", "k_1", 1.0, "messages", provider="anthropic", client_request_id="demo-0")
        ledger.open_row(made)
        made.outcome, made.status, made.upstream_request_id = COMPLETED, 200, "up_1"
        made.usage = UsageStats(input_tokens=3, output_tokens=5, source=UsageSource.EXACT)
        ledger.close_row(made)
    rows = read_rows(tmp_path / "relay.db")
    found = audit([sent()], rows, [served()])
    assert (found.problems, found.tokens) == ((), {"anthropic": 8})
