"""No proxy: what generator and upstream can do by themselves. Run in every round."""

from __future__ import annotations

from benchmarks.stream import Target
from benchmarks.systems.base import UPSTREAM_KEY, Running, System, Variant


class Direct(System):
    name = "direct"
    is_proxy = False

    def prepare(self) -> str:
        return "no proxy"

    def start(self, upstream_port: int, variant: Variant) -> Running:
        target = Target(upstream_port, (("x-api-key", UPSTREAM_KEY),))
        return Running(self.name, target, None, self.fresh_directory())
