"""The relay as shipped: client keys checked, every request in the ledger, one log line for each.

Its ledger is evidence: after a cell, the outcomes it wrote are compared with what the generator saw.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import urllib.request
from pathlib import Path
from typing import Any

import relay_trio
from benchmarks.dialects import TRANSLATED_MODEL
from benchmarks.stream import Target
from benchmarks.systems.base import UPSTREAM_KEY, NotMeasuredError, Running, System, Variant, certificate, free_port
from relay_trio.simulator.vendors.bedrock import samples as bedrock
from relay_trio.simulator.vendors.claude import samples as claude
from relay_trio.simulator.vendors.gemini import samples as gemini

CLIENT_KEY = "rt_benchmark"
_ACCOUNTS = 4
_PROVIDERS = {
    "anthropic": (f'api_key = "{UPSTREAM_KEY}"', f'models = ["{claude.MODEL}"]'),
    "bedrock": (
        'region = "eu-central-1"',
        'access_key_id = "AKIABENCHMARK0000000"',
        'secret_access_key = "benchmark"',  # a pair, so that each request is signed
        f'model_ids = {{ "{TRANSLATED_MODEL}" = "{bedrock.MODEL}" }}',
    ),
    "gemini": ('api_key = "benchmark"', f'models = ["{gemini.MODEL}"]'),
}
"""What the accounts of each have that the others' have not: which models tell them apart."""


class RelayTrio(System):
    name = "relay"
    has_tls = True
    has_queue = True
    has_dialects = True

    def __init__(self, work: Path, checkout: Path = Path(relay_trio.__file__).parents[1]) -> None:
        super().__init__(work)
        self._checkout = checkout.resolve()

    def prepare(self) -> str:
        return relay_trio.__version__

    def start(self, upstream_port: int, variant: Variant) -> Running:
        directory, port, admin_port = self.fresh_directory(), free_port(), free_port()
        configuration = directory / "relay.toml"
        configuration.touch(mode=0o600)  # with literal secrets in it, nobody else may read it
        configuration.write_text(self._configuration(upstream_port, port, admin_port, variant))
        target = Target(port, (("x-api-key", CLIENT_KEY),), tls=variant.tls)
        running = self.launch(directory, self.command(configuration), target, {"PYTHONPATH": str(self._checkout)})
        running.admin_url = f"http://127.0.0.1:{admin_port}"
        return running

    def command(self, configuration: Path) -> list[str | Path]:
        return [sys.executable, "-m", "relay_trio", "serve", "--config", configuration]

    def _configuration(self, upstream_port: int, port: int, admin_port: int, variant: Variant) -> str:
        accounts = min(_ACCOUNTS, variant.slots)
        lines = [
            "[server]",
            f'listeners = ["127.0.0.1:{port}"]',
            "drain_seconds = 0",
            'ledger = "relay.db"',
        ]
        if variant.tls:
            cert, key = certificate(self.work)
            lines += [f'tls_cert = "{cert}"', f'tls_key = "{key}"']
        lines += ["[admin]", f'listener = "127.0.0.1:{admin_port}"']
        if variant.stall_seconds is not None:
            lines += ["[timeouts]", f"write_timeout_seconds = {variant.stall_seconds}"]
        providers = _PROVIDERS if variant.has_all_dialects else {"anthropic": _PROVIDERS["anthropic"]}
        for provider, details in providers.items():
            for number in range(accounts):
                lines += [
                    "[[account]]",
                    f'name = "{provider}-{number}"',
                    f'provider = "{provider}"',
                    f'base_url = "http://127.0.0.1:{upstream_port}"',
                    f"max_concurrency = {variant.slots // accounts}",
                    *details,
                ]
        return "\n".join([*lines, "[[key]]", 'name = "benchmark"', f'secret = "{CLIENT_KEY}"', ""])


class RelayBefore(RelayTrio):
    """The relay of another checkout, to see what a change costs: same configuration, same Python, other code."""

    name = "before"

    def prepare(self) -> str:
        if not (self._checkout / "relay_trio" / "__main__.py").is_file():
            raise NotMeasuredError(f"{self._checkout} is no checkout of relay_trio")
        return str(self._checkout.name)


def outcomes(running: Running, since: float) -> dict[str, int]:
    """Ledger rows of requests that started after ``since`` (epoch seconds), by outcome; ``open`` for unsettled ones."""
    with sqlite3.connect(f"file:{running.directory / 'relay.db'}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT coalesce(outcome, 'open'), usage_source, count(*) FROM requests"
            " WHERE started_at >= ? GROUP BY 1, 2",
            (since,),
        ).fetchall()
    return {f"{outcome} ({source})": count for outcome, source, count in rows}


def invariants(running: Running) -> dict[str, Any]:
    """The relay's own account of what is alive in it."""
    with urllib.request.urlopen(f"{running.admin_url}/debug/invariants", timeout=10) as answer:
        snapshot: dict[str, Any] = json.load(answer)
        return snapshot
