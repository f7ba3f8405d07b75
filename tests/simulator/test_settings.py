"""The defaults."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.plan import settle


def test_by_default_nothing_goes_wrong_and_nothing_waits() -> None:
    plan = settle(SimulatorSettings(), (), Random(0), draws_faults=True)
    assert (plan.delay, plan.pace, plan.fault, plan.chunks) == (0.0, 0.0, (), 20)
    assert SimulatorSettings().host == "127.0.0.1"


def test_a_vendor_finds_its_own_settings_or_their_defaults() -> None:
    @dataclass(frozen=True)
    class Own:
        number: int = 1

    assert SimulatorSettings().own(Own) == Own()
    assert SimulatorSettings(vendors=("another's", Own(2))).own(Own) == Own(2)
