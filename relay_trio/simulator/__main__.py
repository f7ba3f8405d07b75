"""``python -m relay_trio.simulator --port 9100 --chunks 100 --pace 0.02``: a simulator as a process of its own.

Prints one line with its base URL once it listens, so that ``--port 0`` can be used. SIGINT and SIGTERM end it.
"""

from __future__ import annotations

import argparse
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from relay_trio.simulator.plan import settle_settings
from relay_trio.simulator.server import open_simulator
from relay_trio.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal stops it; the exit status."""
    settings = _settings(arguments)
    try:
        trio.run(_serve, settings)
    except* OSError as group:
        raise SystemExit(
            f"simulator: cannot listen on {settings.host}:{settings.port}: {group.exceptions[0]}"
        ) from None
    return 0


async def _serve(settings: SimulatorSettings) -> None:
    """Serve until a signal comes. Cancelled here: destroys; every connection is closed."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_simulator(settings) as simulator:
            print(f"simulator: {simulator.base_url}", flush=True)
            async for _ in signals:
                return


def _settings(arguments: Sequence[str] | None) -> SimulatorSettings:
    parser = argparse.ArgumentParser(prog="python -m relay_trio.simulator", description="A simulated LLM upstream.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", help="seconds before the first byte, or low..high")
    parser.add_argument("--pace", help="seconds between deltas, or low..high")
    parser.add_argument("--chunks", help="deltas per answer, or low..high")
    parser.add_argument("--chars", help="characters per delta")
    parser.add_argument("--jitter", help="0 to 1")
    parser.add_argument("--batch", help="bytes that unpaced events may share in one send")
    parser.add_argument("--faults", default="", help="fault:rate,... for example 429:0.02,stall:0.01")
    parser.add_argument("--keep-alive-seconds", type=float, help="close idle connections after so long")
    parser.add_argument("--keep-bodies", action="store_true", help="keep requests whole in the truth")
    options = parser.parse_args(arguments)
    keys = ("delay", "pace", "chunks", "chars", "jitter", "batch")
    spec = ",".join(f"{key}={getattr(options, key)}" for key in keys if getattr(options, key) is not None)
    settings = SimulatorSettings(
        host=options.host,
        port=options.port,
        seed=options.seed,
        faults=options.faults,
        keep_alive_seconds=options.keep_alive_seconds,
        keep_bodies=options.keep_bodies,
    )
    try:
        return replace(settings, **settle_settings(spec, options.faults))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    raise SystemExit(main())
