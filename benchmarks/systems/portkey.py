"""Portkey's open-source gateway on Node, to which headers say where to send a request, as its documentation does it.

It keeps no records and checks no client key, which is less work than the relay does.

Its own dependency ranges, resolved today, give a gateway that answers every stream with 500 (``TypeError: immutable``:
newer server packages hand a fetched response's headers through uncopied). So the server packages are pinned to the last
ones that work; nothing of Portkey itself is changed. All of it comes from a lock file, and npm runs no script of any
package.
"""

from __future__ import annotations

import json
import shutil

from benchmarks.stream import Target
from benchmarks.systems.base import (
    LOCKED,
    UPSTREAM_KEY,
    NotMeasuredError,
    Running,
    System,
    Variant,
    free_port,
    locked_folder,
    run_setup,
)

_PACKAGE = "@portkey-ai/gateway"
_LOCKS = (LOCKED / "portkey" / "package.json", LOCKED / "portkey" / "package-lock.json")


class Portkey(System):
    name = "portkey"

    def prepare(self) -> str:
        folder = locked_folder(self.work, *_LOCKS)
        package = folder / "node_modules" / _PACKAGE
        if not package.exists():
            if shutil.which("npm") is None or shutil.which("node") is None:
                raise NotMeasuredError("node and npm are not installed")
            folder.mkdir(exist_ok=True)
            for lock in _LOCKS:
                shutil.copy(lock, folder)
            flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps"]
            run_setup(["npm", "ci", *flags], cwd=folder)
        version: str = json.loads((package / "package.json").read_text())["version"]
        return version

    def start(self, upstream_port: int, variant: Variant) -> Running:
        directory, port = self.fresh_directory(), free_port()
        server = locked_folder(self.work, *_LOCKS) / "node_modules" / _PACKAGE / "build" / "start-server.js"
        headers = (
            ("x-api-key", UPSTREAM_KEY),
            ("authorization", f"Bearer {UPSTREAM_KEY}"),
            ("anthropic-version", "2023-06-01"),
            ("x-portkey-provider", "anthropic"),
            ("x-portkey-custom-host", f"http://127.0.0.1:{upstream_port}/v1"),
        )
        command = ["node", server, f"--port={port}", "--headless"]
        return self.launch(directory, command, Target(port, headers), {"NODE_ENV": "production"})
