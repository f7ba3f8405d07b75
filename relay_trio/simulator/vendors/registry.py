"""Every vendor that the simulator has: one line for each.

A request goes to the last vendor that serves it; the first serves all that no other does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay_trio.simulator.vendors.bedrock import samples as bedrock
from relay_trio.simulator.vendors.bedrock.provider import Bedrock
from relay_trio.simulator.vendors.claude import samples as claude
from relay_trio.simulator.vendors.claude.provider import Claude
from relay_trio.simulator.vendors.gemini import samples as gemini
from relay_trio.simulator.vendors.gemini.provider import Gemini, GeminiArrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.simulator.provider import Provider
    from relay_trio.simulator.samples import Samples
    from relay_trio.simulator.settings import SimulatorSettings


class Vendor(NamedTuple):
    """``providers``: its simulated APIs, more than one where streams have more than one form."""

    providers: tuple[Callable[[SimulatorSettings], Provider], ...]
    samples: Samples


VENDORS = (
    Vendor((Claude,), claude.SAMPLES),
    Vendor((Bedrock,), bedrock.SAMPLES),
    Vendor((Gemini, GeminiArrays), gemini.SAMPLES),
)


def new_providers(settings: SimulatorSettings) -> list[Provider]:
    """Every vendor's, the first one that serves a request is to answer it."""
    return [make(settings) for vendor in reversed(VENDORS) for make in vendor.providers]
