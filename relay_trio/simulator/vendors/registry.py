"""Every vendor that the simulator has: one line for each.

The first that says a request is for it gets it, and the last one takes what nobody else does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.simulator.vendors.bedrock.provider import Bedrock
from relay_trio.simulator.vendors.claude.provider import Claude
from relay_trio.simulator.vendors.gemini.provider import Gemini, GeminiArrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.simulator.provider import Provider
    from relay_trio.simulator.settings import SimulatorSettings

PROVIDERS: tuple[Callable[[SimulatorSettings], Provider], ...] = (
    Bedrock,
    Gemini,
    GeminiArrays,
    Claude,
)
