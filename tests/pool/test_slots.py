"""Slots: reserved below the capacity, taken or let go, given back once, never forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.pool.slots import SlotTable


def table(**capacities: int) -> SlotTable:
    slots = SlotTable()
    for account, capacity in capacities.items():
        slots.set_capacity(account, capacity)
    return slots


def take(slots: SlotTable, account: str) -> bool:
    if not slots.reserve_nowait(account):
        return False
    slots.take(account)
    return True


def test_of_an_account_that_nobody_knows_there_are_no_slots() -> None:
    slots = SlotTable()
    assert (slots.capacity("a"), slots.in_use("a"), slots.held("a"), slots.total_in_use()) == (0, 0, 0, 0)
    assert slots.is_within_capacity("a")


def test_the_last_slot_is_taken_once() -> None:
    slots = table(a=2)
    assert [take(slots, "a") for _ in range(3)] == [True, True, False]
    assert slots.in_use("a") == 2


def test_a_slot_that_is_reserved_is_held_and_not_in_use() -> None:
    slots = table(a=1)
    assert slots.reserve_nowait("a")
    assert not slots.reserve_nowait("a")
    assert (slots.in_use("a"), slots.held("a"), slots.total_reserved()) == (0, 1, 1)
    slots.cancel_reservation("a")
    assert (slots.held("a"), slots.total_reserved()) == (0, 0)
    assert take(slots, "a")


def test_accounts_do_not_share_their_slots() -> None:
    slots = table(a=1, b=1)
    assert take(slots, "a")
    assert take(slots, "b")
    slots.give_back("a")
    assert (slots.in_use("a"), slots.in_use("b"), slots.total_in_use()) == (0, 1, 1)


def test_a_lowered_capacity_takes_nothing_away_and_lets_nothing_in() -> None:
    """What was reserved before may still be taken."""
    slots = table(a=3)
    assert take(slots, "a")
    assert take(slots, "a")
    assert slots.reserve_nowait("a")
    slots.set_capacity("a", 1)
    slots.take("a")
    assert not slots.reserve_nowait("a")
    assert (slots.in_use("a"), slots.capacity("a")) == (3, 1)
    assert slots.is_within_capacity("a")
    for _ in range(3):
        slots.give_back("a")
    assert take(slots, "a")


def test_a_count_beyond_what_was_granted_is_noticed_also_above_a_lowered_capacity() -> None:
    slots = table(a=3)
    for _ in range(3):
        take(slots, "a")
    slots.set_capacity("a", 1)
    slots.give_back("a")
    assert slots.is_within_capacity("a")
    slots._slots["a"].in_use += 1
    assert not slots.is_within_capacity("a")


def test_giving_back_twice_is_an_error_here_and_now() -> None:
    slots = table(a=1)
    take(slots, "a")
    slots.give_back("a")
    with pytest.raises(AssertionError, match="given back twice"):
        slots.give_back("a")
    assert slots.in_use("a") == 0


def test_giving_back_or_taking_what_nobody_reserved_is_an_error() -> None:
    with pytest.raises(KeyError):
        SlotTable().give_back("a")
    slots = table(a=1)
    for wrong in (slots.take, slots.cancel_reservation):
        with pytest.raises(AssertionError, match="reserved"):
            wrong("a")


def test_an_account_is_forgotten_only_when_nothing_of_it_is_held() -> None:
    slots = table(a=1)
    slots.reserve_nowait("a")
    with pytest.raises(AssertionError, match="still held"):
        slots.forget("a")
    other = table(b=1)
    other.forget("b")
    assert other.capacity("b") == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(1, 4))
def test_after_any_order_of_takes_and_returns_the_counts_are_what_is_held(
    steps: list[tuple[str, bool]], capacity: int
) -> None:
    slots, held = table(a=capacity, b=capacity), {"a": 0, "b": 0}
    for account, is_take in steps:
        if is_take:
            assert take(slots, account) is (held[account] < capacity)
            held[account] = min(held[account] + 1, capacity)
        elif held[account]:
            slots.give_back(account)
            held[account] -= 1
        assert {name: slots.in_use(name) for name in held} == held
        assert slots.total_in_use() == sum(held.values())
