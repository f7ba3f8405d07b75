"""The columns of the table of requests, derived from the fields of ``LedgerRow``: a field more is a column more.

A field that is no plain value is flattened: ``outcome`` into its word and its code, ``usage`` into its fields,
``attempt_log`` into JSON text. The table itself is made by the steps of ``storage.schema``, which are history; a test
compares the two.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from relay_trio.ledger.row import AttemptRecord, LedgerRow
from relay_trio.outcome import Outcome, Phase, Who, Word
from relay_trio.usage import UsageDetails, UsageSource, UsageStats

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field

Values = tuple[Any, ...]
"""One row, in the order of ``COLUMNS``."""


@dataclass(frozen=True, slots=True)
class Column:
    """``kind`` is the Python type of its values, and ``path`` the attributes that lead to one from the row."""

    name: str
    kind: type[str] | type[int] | type[float]
    is_nullable: bool
    path: str


_NOT_STORED = ("key_name",)

_PLAIN: dict[str, tuple[type[str] | type[int] | type[float], bool]] = {
    "str": (str, False),
    "bool": (int, False),
    "int": (int, False),
    "int | None": (int, True),
    "float": (float, False),
    "float | None": (float, True),
}
"""By the annotation of a field: the kind of its column, and whether that may be empty."""

_COUNTS = tuple(
    Column(field.name, int, False, f"usage.{field.name}")
    for field in fields(UsageStats)
    if field.name not in ("source", "details", "parts")
)
_DETAILS = tuple(
    Column(field.name, *_PLAIN[str(field.type)], f"usage.details.{field.name}") for field in fields(UsageDetails)
)

_FLATTENED = {
    "outcome": (Column("outcome", str, True, "outcome_word"), Column("code", str, True, "outcome_code")),
    "attempt_log": (Column("attempt_log", str, False, "attempt_log_json"),),
    "usage": (
        *_COUNTS,
        Column("total_tokens", int, False, "usage.total_tokens"),
        Column("usage_source", str, False, "usage.source.value"),
        *_DETAILS,
    ),
}


def _columns_of(field: Field[Any]) -> tuple[Column, ...]:
    if field.name in _FLATTENED:
        return _FLATTENED[field.name]
    return (Column(field.name, *_PLAIN[str(field.type)], field.name),)


_STORED = tuple(field for field in fields(LedgerRow) if field.name not in _NOT_STORED)
COLUMNS = tuple(column for field in _STORED for column in _columns_of(field))

row_values: Callable[[LedgerRow], Values] = eval(  # compiled, as the methods of a dataclass are: see below
    f"lambda row: ({', '.join(f'row.{column.path}' for column in COLUMNS)})", {}
)
"""The values of a row as it is now. Called twice for each request: one compiled expression takes 1.2 us, as if it were
written out; ``attrgetter`` takes 1.7 us."""


def row_of(values: Values) -> LedgerRow:
    """The row whose ``row_values`` these are."""
    named = dict(zip((column.name for column in COLUMNS), values, strict=True))
    plain = {field.name: named[field.name] for field in _STORED if field.name not in _FLATTENED}
    return LedgerRow(
        **plain | {"is_stream": bool(named["is_stream"])},
        outcome=_outcome_of(named["outcome"], named["code"]),
        usage=UsageStats(
            **{column.name: named[column.name] for column in _COUNTS},
            source=UsageSource(named["usage_source"]),
            details=UsageDetails(**{column.name: named[column.name] for column in _DETAILS}),
        ),
        attempt_log=tuple(
            AttemptRecord(**attempt | {"phase": Phase(attempt["phase"]), "reason": Word(attempt["reason"])})
            for attempt in json.loads(named["attempt_log"])
        ),
    )


def _outcome_of(word: str | None, code: str) -> Outcome | None:
    return None if word is None else Outcome(Word(word), Who(code[0]), Phase(code[1]))
