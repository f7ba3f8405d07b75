"""Slots in use: taken below the limit, given back once, never forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.pool.slots import SlotTable


def test_an_account_nobody_used_has_no_slot_in_use() -> None:
    slots = SlotTable()
    assert (slots.in_use("a"), slots.total()) == (0, 0)


def test_the_last_slot_is_taken_once() -> None:
    slots = SlotTable()
    assert [slots.take_nowait("a", 2) for _ in range(3)] == [True, True, False]
    assert slots.in_use("a") == 2


def test_accounts_do_not_share_their_slots() -> None:
    slots = SlotTable()
    assert slots.take_nowait("a", 1)
    assert slots.take_nowait("b", 1)
    slots.give_back("a")
    assert (slots.in_use("a"), slots.in_use("b"), slots.total()) == (0, 1, 1)


def test_a_slot_given_back_can_be_taken_again() -> None:
    slots = SlotTable()
    slots.take_nowait("a", 1)
    slots.give_back("a")
    assert slots.take_nowait("a", 1)


def test_a_lowered_limit_takes_nothing_away_and_lets_nothing_in() -> None:
    """What the limit is, is the caller's: an operator may lower it while slots are held."""
    slots = SlotTable()
    for _ in range(3):
        slots.take_nowait("a", 3)
    assert not slots.take_nowait("a", 2)
    assert slots.in_use("a") == 3


def test_giving_back_twice_is_an_error_here_and_now() -> None:
    slots = SlotTable()
    slots.take_nowait("a", 1)
    slots.give_back("a")
    with pytest.raises(AssertionError, match="given back twice"):
        slots.give_back("a")
    assert slots.in_use("a") == 0


def test_giving_back_what_nobody_took_is_an_error() -> None:
    with pytest.raises(KeyError):
        SlotTable().give_back("a")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(1, 4))
def test_after_any_order_of_takes_and_returns_the_counts_are_what_is_held(
    steps: list[tuple[str, bool]], limit: int
) -> None:
    slots, held = SlotTable(), {"a": 0, "b": 0}
    for account, is_take in steps:
        if is_take:
            assert slots.take_nowait(account, limit) is (held[account] < limit)
            held[account] = min(held[account] + 1, limit)
        elif held[account]:
            slots.give_back(account)
            held[account] -= 1
        assert {name: slots.in_use(name) for name in held} == held
        assert slots.total() == sum(held.values())
