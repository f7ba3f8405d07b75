"""The tables that the steps make."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from relay_trio.ledger.store import COLUMNS
from relay_trio.storage.schema import MIGRATIONS, SCHEMA_VERSION
from relay_trio.storage.sqlite import open_database

if TYPE_CHECKING:
    from pathlib import Path


def test_the_steps_make_the_columns_that_are_written(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "relay.db")) as database:
        made = [name for (name,) in database.execute("SELECT name FROM pragma_table_info('requests')")]
    assert made == list(COLUMNS)


def test_every_step_counts() -> None:
    assert len(MIGRATIONS) == SCHEMA_VERSION


def test_no_column_is_for_a_secret_or_a_prompt() -> None:
    """Keys have a digest and four characters; requests have numbers and names."""
    text = " ".join(statement for step in MIGRATIONS for statement in step).lower()
    assert not any(word in text for word in ("secret", "prompt", "body", "authorization", "address"))
