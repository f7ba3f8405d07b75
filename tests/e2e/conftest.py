"""A simulator, and a relay with accounts on it. A module that needs others overrides what they are made of:
``simulator_settings``, ``accounts`` and ``sections``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.simulator import Simulator, SimulatorSettings, open_simulator
from tests.support.accounts import account
from tests.support.socket_harness import SocketHarness, open_harness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds the ledger and nothing else, so that all of it may be searched."""
    place = tmp_path / "ledger"
    place.mkdir()
    return place


@pytest.fixture
def simulator_settings() -> SimulatorSettings:
    """Short answers."""
    return SimulatorSettings(chunks=5)


@pytest.fixture
async def simulator(simulator_settings: SimulatorSettings) -> AsyncIterator[Simulator]:
    async with open_simulator(simulator_settings) as running:
        yield running


@pytest.fixture
def accounts(simulator: Simulator) -> list[dict[str, object]]:
    """The accounts ``one`` and ``two`` on the simulator."""
    return [account("one", simulator.base_url), account("two", simulator.base_url, number=1)]


@pytest.fixture
def sections() -> dict[str, Any]:
    """More of relay.toml."""
    return {}


@pytest.fixture
async def relay(
    accounts: list[dict[str, object]], sections: dict[str, Any], folder: Path
) -> AsyncIterator[SocketHarness]:
    """A relay with ``accounts``; at rest when the test is over."""
    async with open_harness(folder, accounts, **sections) as harness:
        yield harness
