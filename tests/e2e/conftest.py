"""A simulator, and a relay with two accounts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.simulator import Simulator, SimulatorSettings, open_simulator
from tests.support.socket_harness import Harness, account, open_harness

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
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator of short answers."""
    async with open_simulator(SimulatorSettings(chunks=5)) as running:
        yield running


@pytest.fixture
async def relay(simulator: Simulator, folder: Path) -> AsyncIterator[Harness]:
    """A relay with the accounts ``one`` and ``two`` on the simulator; at rest when the test is over."""
    accounts = [account("one", simulator.base_url), account("two", simulator.base_url, number=1)]
    async with open_harness(folder, accounts) as harness:
        yield harness
