"""The defaults."""

from __future__ import annotations

from random import Random

from relay_trio.simulator import ACCESS_KEYS, SimulatorSettings
from relay_trio.simulator.plan import settle


def test_by_default_nothing_goes_wrong_and_nothing_waits() -> None:
    plan = settle(SimulatorSettings(), (), Random(0), draws_faults=True)
    assert (plan.delay, plan.pace, plan.fault, plan.chunks) == (0.0, 0.0, (), 20)
    assert SimulatorSettings().host == "127.0.0.1"


def test_the_default_access_keys_are_a_lasting_pair_and_a_temporary_one() -> None:
    keys = SimulatorSettings().access_keys
    assert keys == ACCESS_KEYS
    assert keys is not ACCESS_KEYS
    assert [key.session_token is not None for key in keys.values()] == [False, True]
    assert not any(key.secret in repr(SimulatorSettings()) for key in keys.values())
