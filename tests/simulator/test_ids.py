"""Identifiers."""

from __future__ import annotations

from relay_trio.simulator.ids import new_id


def test_no_two_are_the_same_and_all_look_like_the_providers() -> None:
    made = {new_id("req") for _ in range(1000)}
    assert len(made) == 1000
    assert all(name.startswith("req_01") and name.isascii() for name in made)
