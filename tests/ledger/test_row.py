"""The row and the table hold the same."""

from __future__ import annotations

from dataclasses import fields

from relay_trio.ledger.row import LedgerRow
from relay_trio.ledger.store import COLUMNS


def test_every_field_of_a_row_has_its_column() -> None:
    """A field that is added to the row and forgotten in the table fails here."""
    flattened = {field.name for field in fields(LedgerRow)} - {"outcome", "usage"}
    of_outcome = {"outcome", "code"}
    of_usage = {name for name in COLUMNS if name.endswith("_tokens")} | {"usage_source", "cost_usd"}
    assert flattened | of_outcome | of_usage == set(COLUMNS)
