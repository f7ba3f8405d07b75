"""The systems that are measured, one file each, all started and stopped the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.systems.direct import Direct
from benchmarks.systems.litellm import LiteLLM
from benchmarks.systems.nginx import Nginx
from benchmarks.systems.portkey import Portkey
from benchmarks.systems.relay import RelayTrio

if TYPE_CHECKING:
    from benchmarks.systems.base import System

SYSTEMS: dict[str, type[System]] = {
    "direct": Direct,
    "nginx": Nginx,
    "relay": RelayTrio,
    "portkey": Portkey,
    "litellm": LiteLLM,
}
