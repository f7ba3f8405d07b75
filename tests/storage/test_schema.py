"""The tables that the steps make."""

from __future__ import annotations

from relay_trio.storage.schema import MIGRATIONS, SCHEMA_VERSION


def test_every_step_counts() -> None:
    assert len(MIGRATIONS) == SCHEMA_VERSION


def test_no_column_is_for_a_secret_or_a_prompt() -> None:
    """Keys have a digest and four characters; requests have numbers and names."""
    text = " ".join(statement for step in MIGRATIONS for statement in step).lower()
    assert not any(word in text for word in ("secret", "prompt", "body", "authorization", "address"))
