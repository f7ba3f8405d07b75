"""A simulated upstream on real sockets, with faults: for the demo, the tests and the benchmarks.

It serves whatever speaks to one of its vendors, and knows what it served (``Simulator.truth``). ``plan`` documents how
a request asks for its own pace, length and faults; ``faults`` lists them; ``vendors`` has a folder for each vendor.
"""

from relay_trio.simulator.faults import FAULT_NAMES, SpecError
from relay_trio.simulator.script import Usage
from relay_trio.simulator.server import Simulator, open_simulator
from relay_trio.simulator.settings import SimulatorSettings
from relay_trio.simulator.text import text_of, thinking_of
from relay_trio.simulator.truth import ServedRequest, Truth

__all__ = [
    "FAULT_NAMES",
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
