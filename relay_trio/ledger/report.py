"""What was used, by whom: sums over the ledger, read beside a relay that writes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from relay_trio.outcome import Word

if TYPE_CHECKING:
    import sqlite3

GROUPINGS = {
    "key": "key_id",
    "account": "account",
    "model": "model",
    "day": "date(started_at, 'unixepoch')",
    "outcome": "outcome || ' ' || code",
}


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group. ``gone``: the client hung up. ``partial``: the tokens that were counted on such a cut stream.

    ``usd`` sums what could be priced; ``unpriced`` counts requests that used tokens and could not.
    """

    group: str
    requests: int
    gone: int
    input_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    output_tokens: int
    usd: float
    partial: int
    unpriced: int


def usage_by(database: sqlite3.Connection, grouping: str, since: float) -> list[UsageLine]:
    """One line for each group of requests started at ``since`` (epoch seconds) or later, by name. Blocking.

    Raises:
        KeyError: ``grouping`` is none of ``GROUPINGS``.
    """
    group = GROUPINGS[grouping]
    rows = database.execute(
        f"""
        SELECT coalesce({group}, 'open') AS name, count(*), sum(outcome = ?),
            sum(input_tokens), sum(cache_creation_tokens), sum(cache_read_tokens), sum(output_tokens),
            coalesce(sum(cost_usd), 0.0), sum(iif(usage_source = 'partial', total_tokens, 0)),
            sum(cost_usd IS NULL AND total_tokens > 0)
        FROM requests WHERE started_at >= ? GROUP BY name ORDER BY name
        """,  # noqa: S608  # the group is one of the constants above
        (Word.CLIENT_DISCONNECT.value, since),
    )
    return [UsageLine(name, *(value or 0 for value in sums)) for name, *sums in rows]


def total(lines: list[UsageLine]) -> UsageLine:
    """The sum of all lines."""
    names = [field.name for field in fields(UsageLine) if field.name != "group"]
    return UsageLine("total", *(sum(getattr(line, name) for line in lines) for name in names))
