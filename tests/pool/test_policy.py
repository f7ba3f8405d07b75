"""Which account is next, among those that have a free slot."""

from __future__ import annotations

from relay_trio.pool.policy import LeastLoaded
from tests.pool.pools import make_account


def test_of_no_account_none_is_chosen() -> None:
    assert LeastLoaded().choose([]) is None


def test_a_lower_priority_number_comes_before_any_load() -> None:
    first, spare = make_account("a", priority=1), make_account("b", priority=2)
    assert LeastLoaded().choose([(spare, 0), (first, 99)]) is first


def test_the_load_is_counted_with_the_slot_that_would_be_taken_and_by_weight() -> None:
    """Of 2 to 1, the account with double weight takes the first, the next, and every second one after these."""
    heavy, light = make_account("a", weight=2), make_account("b", weight=1)
    policy, held = LeastLoaded(), {"a": 0, "b": 0}
    names = []
    for _ in range(6):
        chosen = policy.choose([(heavy, held["a"]), (light, held["b"])])
        assert chosen is not None
        policy.used(chosen)
        held[chosen.name] += 1
        names.append(chosen.name)
    assert "".join(names) == "abaaba"


def test_equal_accounts_go_round() -> None:
    policy, accounts = LeastLoaded(), [make_account(name) for name in "abc"]
    names = []
    for _ in range(6):
        chosen = policy.choose((account, 0) for account in accounts)
        assert chosen is not None
        policy.used(chosen)
        names.append(chosen.name)
    assert "".join(names) == "abcabc"
