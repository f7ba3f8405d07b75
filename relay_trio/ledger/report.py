"""What was used, by whom: sums over the ledger."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Grouping = Literal["key", "account", "model", "day", "outcome"]
"""What a line stands for. Days are those of UTC; an outcome is its word and its code."""


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group. ``gone``: the client hung up. ``of_which_partial``: tokens, of all four kinds, that were last
    seen on streams that were cut before their final count.

    ``name``: of the key, where the group is a key's id that has one.

    ``usd`` sums what could be priced; ``unpriced`` counts requests that used tokens and could not, ``partly_priced``
    those of whose cost a part could not (``ledger.prices.CostNote``).
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
    partly_priced: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """What ``usd`` does not hold: how many requests used tokens of each model without a price, and how many have each
    note beside their cost. The most frequent first."""

    unpriced_models: dict[str, int]
    cost_notes: dict[str, int]


def total(lines: Sequence[UsageLine]) -> UsageLine:
    """The sum of all lines."""
    names = [field.name for field in fields(UsageLine) if field.name not in ("group", "name")]
    return UsageLine("total", *(sum(getattr(line, name) for line in lines) for name in names))


def with_names(lines: Sequence[UsageLine], names: Mapping[str, str]) -> list[UsageLine]:
    """Lines of keys, with the names of those that have one in ``names``, by id."""
    return [replace(line, name=names.get(line.group, "")) for line in lines]
