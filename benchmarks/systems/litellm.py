"""LiteLLM's proxy, its ``/v1/messages`` route, configured as its page "Best Practices for Production" says.

No database: so it keeps no spend records, which is less work than the relay does. One worker, because the proxy has one
core (its documentation: one per core). The local price list, because it would otherwise fetch one at start.

Releases of it have been tampered with and withdrawn this year, so one is pinned, with everything that it needs.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions

from benchmarks.stream import Target
from benchmarks.systems.base import (
    LOCKED,
    UPSTREAM_KEY,
    Running,
    System,
    Variant,
    free_port,
    locked_folder,
    run_setup,
)
from relay_trio.simulator.vendors.claude.samples import MODEL

_MASTER_KEY = "sk-benchmark"
_LOCK = LOCKED / "litellm.txt"
_CONFIGURATION = f"""
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: anthropic/{MODEL}
      api_base: http://127.0.0.1:{{upstream}}
      api_key: {UPSTREAM_KEY}
litellm_settings:
  set_verbose: false
  telemetry: false
  num_retries: 0
  request_timeout: 600
general_settings:
  master_key: {_MASTER_KEY}
"""


class LiteLLM(System):
    name = "litellm"

    def prepare(self) -> str:
        """Only wheels, which run nothing when they are installed."""
        venv = locked_folder(self.work, _LOCK)
        if not (venv / "bin" / "litellm").exists():
            run_setup([sys.executable, "-m", "venv", venv])
            flags = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
            run_setup([venv / "bin" / "python", "-m", "pip", "install", *flags, "--requirement", _LOCK])
        packages = [str(path) for path in venv.glob("lib/python*/site-packages")]
        [installed] = distributions(name="litellm", path=packages)
        return installed.version

    def start(self, upstream_port: int, variant: Variant) -> Running:
        directory, port = self.fresh_directory(), free_port()
        (directory / "config.yaml").write_text(_CONFIGURATION.format(upstream=upstream_port))
        command = [locked_folder(self.work, _LOCK) / "bin" / "litellm", "--config", "config.yaml", "--port", str(port)]
        command += ["--host", "127.0.0.1", "--num_workers", "1"]
        environment = {
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "127.0.0.1",
        }
        target = Target(port, (("x-api-key", _MASTER_KEY), ("anthropic-version", "2023-06-01")))
        return self.launch(directory, command, target, environment)
