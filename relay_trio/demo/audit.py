"""The closing account of a demo: what clients saw, what the ledger says, and what the upstream served must agree.

Three witnesses of the same requests, independent of each other: the clients, who know what they sent; the ledger; and
the simulator, which counts what it handed to the kernel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_trio.ledger.sqlite_store import open_report
from relay_trio.outcome import Word
from relay_trio.usage import UsageSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from relay_trio.demo.clients import Sent
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.simulator import ServedRequest

_TOKENS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
_EXAMPLES = 3
_GONE = (Word.CLIENT_DISCONNECT, Word.CLIENT_TIMEOUT)
_NOT_FAILED = (Word.COMPLETED, Word.REJECTED_CAPACITY, *_GONE)


@dataclass(frozen=True, slots=True)
class Audit:
    """What the three have in common, and what they have not.

    ``requests`` reached the relay for certain, or have a row; ``unread`` are those whose client left so early that the
    relay need not have read them, and did not. ``refused`` found no slot in time; ``failed`` are all that ended badly
    in another way. ``tokens``: by provider, those of the rows that say they are exact.
    """

    requests: int
    rows: int
    unread: int
    completed: int
    gone: int
    refused: int
    failed: int
    tokens: dict[str, int]
    problems: tuple[str, ...]


def read_rows(ledger: Path) -> list[LedgerRow]:
    """Every request in the ledger. Raises StorageError."""
    with open_report(ledger) as report:
        return report.rows()


def audit(sent: Sequence[Sent], rows: Sequence[LedgerRow], served: Iterable[ServedRequest]) -> Audit:
    """Compare. ``rows`` may hold those of other clients: their tokens are looked at, their number is not."""
    problems = Problems()
    ours: dict[str, list[LedgerRow]] = {request.request_id: [] for request in sent}
    for row in rows:
        ours.get(row.client_request_id, []).append(row)
    truth = {record.request_id: record for record in served}
    unread = 0
    for request in sent:
        found = ours[request.request_id]
        if not request.has_left and request.status is None:
            problems.add("requests without an answer", request.request_id)
        if not found and not request.is_admitted:
            unread += 1
        elif len(found) != 1:
            problems.add(f"requests with {len(found)} rows", request.request_id)
        else:
            _compare(request, found[0], problems)
            _check_counted(found[0], truth, problems)
    for row in rows:
        _check_row(row, truth, problems)
    failed = [row for found in ours.values() for row in found if row.outcome_word not in _NOT_FAILED]
    if len(failed) > sum(bool(record.fault) for record in truth.values()):
        for row in failed:
            problems.add("requests failed, more than faults were injected", row.request_id)
    return Audit(
        requests=len(sent) - unread,
        rows=sum(map(len, ours.values())),
        unread=unread,
        completed=_count(ours, Word.COMPLETED),
        gone=_count(ours, *_GONE),
        refused=_count(ours, Word.REJECTED_CAPACITY),
        failed=len(failed),
        tokens=_exact_tokens(rows),
        problems=problems.lines(),
    )


class Problems:
    """Findings by kind, each with a few ids to look up."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, request_id: str) -> None:
        self._found.setdefault(kind, []).append(request_id)

    def lines(self) -> tuple[str, ...]:
        """One line for each kind."""
        return tuple(
            f"{len(ids)} {kind}: {', '.join(ids[:_EXAMPLES])}{', …' if len(ids) > _EXAMPLES else ''}"
            for kind, ids in self._found.items()
        )


def _compare(request: Sent, row: LedgerRow, problems: Problems) -> None:
    """What the client saw against its row."""
    if request.is_held_open:
        problems.add("half-closed connections held open", request.request_id)
    if request.is_whole and not request.is_finished:
        problems.add("streams that ended cleanly without their last event", request.request_id)
    if request.has_left:
        return
    if row.outcome_word == Word.CLIENT_DISCONNECT:
        problems.add("clients said to have left that had not", request.request_id)
    if row.outcome_word == Word.COMPLETED and not request.is_whole:
        problems.add("answers said to be complete that were cut", request.request_id)
    if request.status is not None and request.status != row.status:
        problems.add("rows with another status than the client saw", request.request_id)


def _check_row(row: LedgerRow, truth: Mapping[str, ServedRequest], problems: Problems) -> None:
    """A row by itself, and its tokens against what the upstream served."""
    request_id = row.request_id
    if row.outcome is None:
        problems.add("rows left open", request_id)
    if row.outcome_word == Word.INTERNAL:
        problems.add(f"internal errors ({row.outcome_code})", request_id)
    if row.usage.source is UsageSource.NONE:
        return
    record = truth.get(row.upstream_request_id)
    if record is None:
        problems.add("rows with tokens that no upstream served", request_id)
        return
    counted = tuple(getattr(row.usage, name) for name in _TOKENS)
    served = tuple(getattr(record, name) for name in _TOKENS)
    if row.usage.source is UsageSource.EXACT and counted != served:
        problems.add("exact rows that differ from what was served", request_id)
    if any(ours > theirs for ours, theirs in zip(counted, served, strict=True)):
        problems.add("rows with more tokens than were served", request_id)


def _check_counted(row: LedgerRow, truth: Mapping[str, ServedRequest], problems: Problems) -> None:
    """Tokens that nobody counted differ from nothing: every answer that was whole and undamaged has exact ones."""
    record = truth.get(row.upstream_request_id)
    is_damaged = record is not None and record.fault
    if row.outcome_word == Word.COMPLETED and row.usage.source is not UsageSource.EXACT and not is_damaged:
        problems.add("completed requests without exact tokens", row.request_id)


def _exact_tokens(rows: Sequence[LedgerRow]) -> dict[str, int]:
    tokens: Counter[str] = Counter()
    for row in rows:
        if row.usage.source is UsageSource.EXACT:
            tokens[row.provider] += sum(getattr(row.usage, name) for name in _TOKENS)
    return dict(sorted(tokens.items()))


def _count(rows: Mapping[str, Sequence[LedgerRow]], *words: Word) -> int:
    return sum(row.outcome_word in words for found in rows.values() for row in found)
