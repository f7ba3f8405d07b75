"""LiteLLM's proxy, its ``/v1/messages`` route, configured as its page "Best Practices for Production" says.

No database: so it keeps no spend records, which is less work than the relay does. One worker, because the proxy has one
core (its documentation: one per core). The local price list, because it would otherwise fetch one at start.
"""

from __future__ import annotations

import sys

from benchmarks.stream import Target
from benchmarks.systems.base import UPSTREAM_KEY, Running, System, Variant, free_port, run_setup
from relay_trio.simulator.vendors.claude.samples import MODEL

_MASTER_KEY = "sk-benchmark"
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
        venv = self.work / "venv"
        if not (venv / "bin" / "litellm").exists():
            run_setup([sys.executable, "-m", "venv", venv])
            run_setup([venv / "bin" / "pip", "install", "-q", "litellm[proxy]"])
        version = venv / "version"
        code = "from importlib.metadata import version; import sys; open(sys.argv[1], 'w').write(version('litellm'))"
        run_setup([venv / "bin" / "python", "-c", code, version])
        return version.read_text()

    def start(self, upstream_port: int, variant: Variant) -> Running:
        directory, port = self.fresh_directory(), free_port()
        (directory / "config.yaml").write_text(_CONFIGURATION.format(upstream=upstream_port))
        command = [self.work / "venv" / "bin" / "litellm", "--config", "config.yaml", "--port", str(port)]
        command += ["--host", "127.0.0.1", "--num_workers", "1"]
        environment = {
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "127.0.0.1",
        }
        target = Target(port, (("x-api-key", _MASTER_KEY), ("anthropic-version", "2023-06-01")))
        return self.launch(directory, command, target, environment)
