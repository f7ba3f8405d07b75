"""Example values for schemas of both spellings."""

from __future__ import annotations

from relay_trio.simulator.schemas import example


def test_an_example_has_the_types_that_the_schema_asks_for() -> None:
    fields = {
        "city": {"type": "string"},
        "days": {"type": "INTEGER"},
        "share": {"type": ["number", "null"]},
        "when": {"enum": ["now", "then"]},
        "tags": {"type": "ARRAY", "items": {"type": "BOOLEAN"}},
        "inner": {"type": "OBJECT", "properties": {"nothing": {"type": "null"}}},
    }
    made = example({"type": "OBJECT", "properties": fields})
    assert made.pop("city")
    assert made == {"days": 42, "share": 4.5, "when": "now", "tags": [True], "inner": {"nothing": None}}


def test_what_is_no_schema_gives_an_empty_object() -> None:
    assert example(None) == example("x") == example({}) == {}
