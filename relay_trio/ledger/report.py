"""What was used, by whom: sums over the ledger, read beside a relay that writes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from relay_trio.outcome import Word
from relay_trio.usage import UsageSource

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

GROUPINGS = {
    "key": "key_id",
    "account": "account",
    "model": "model",
    "day": "date(started_at, 'unixepoch')",
    "outcome": "outcome || ' ' || code",
}
"""What lines may stand for, and the SQL for it. Days are those of UTC."""


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group. ``gone``: the client hung up. ``of_which_partial``: tokens, of all four kinds, that were last
    seen on streams that were cut before their final count.

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
    of_which_partial: int
    unpriced: int


def usage_by(database: sqlite3.Connection, grouping: str, since: float) -> list[UsageLine]:
    """One line for each group of requests started at ``since`` (epoch seconds) or later, by name. Blocking.

    A key's line has its id and, if the database knows it, its name. Requests that run now count as requests; by
    outcome they are ``open``.

    Raises:
        KeyError: ``grouping`` is none of ``GROUPINGS``.
    """
    group = GROUPINGS[grouping]  # a constant of this file: nothing of a caller's goes into the statement
    rows = database.execute(
        f"""
        SELECT coalesce({group}, 'open') AS name, count(*), sum(outcome IS ?),
            sum(input_tokens), sum(cache_creation_tokens), sum(cache_read_tokens), sum(output_tokens),
            total(cost_usd), sum(iif(usage_source = ?, total_tokens, 0)),
            sum(cost_usd IS NULL AND total_tokens > 0)
        FROM requests WHERE started_at >= ? GROUP BY name ORDER BY name
        """,
        (Word.CLIENT_DISCONNECT.value, UsageSource.PARTIAL.value, since),
    )
    lines = [UsageLine(*sums) for sums in rows.fetchall()]
    if grouping == "key":
        names = dict(database.execute("SELECT printf('k_%02d', number), name FROM keys").fetchall())
        lines = [replace(line, group=f"{line.group} {names.get(line.group, '')}".rstrip()) for line in lines]
    return lines


def total(lines: Sequence[UsageLine]) -> UsageLine:
    """The sum of all lines."""
    names = [field.name for field in fields(UsageLine) if field.name != "group"]
    return UsageLine("total", *(sum(getattr(line, name) for line in lines) for name in names))
