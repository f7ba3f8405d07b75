"""What every request shares: one of each, put together once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.memory_harness import open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_the_parts_of_a_core_are_not_exchanged_while_it_lives(autojump_clock: MockClock) -> None:
    """A request that held one admission and gave back to another would leak."""
    async with open_harness(scripts.streams) as harness:
        for field in dataclasses.fields(harness.core):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(harness.core, field.name, None)
