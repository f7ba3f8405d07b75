"""A simulated upstream on real sockets, with faults: for the demo, the tests and the benchmarks.

It speaks to anything that speaks to the provider, and knows what it served (``Simulator.truth``). ``plan`` documents
how one request asks for its own pace, length and faults; ``faults`` lists them.
"""

from relay_trio.simulator.faults import FAULT_NAMES, SpecError
from relay_trio.simulator.script import Usage
from relay_trio.simulator.server import Simulator, open_simulator
from relay_trio.simulator.settings import ACCESS_KEYS, SimulatorSettings
from relay_trio.simulator.sigv4 import AccessKey
from relay_trio.simulator.text import text_of, thinking_of
from relay_trio.simulator.truth import ServedRequest, Truth

__all__ = [
    "ACCESS_KEYS",
    "FAULT_NAMES",
    "AccessKey",
    "ServedRequest",
    "Simulator",
    "SimulatorSettings",
    "SpecError",
    "Truth",
    "Usage",
    "open_simulator",
    "text_of",
    "thinking_of",
]
