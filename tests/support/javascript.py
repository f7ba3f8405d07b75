"""The AWS SDK for JavaScript: installed from tests/e2e/js into the user's cache, and run with Node."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.keys.access_pairs import AccessKeyPair

SOURCE = Path(__file__).parents[1] / "e2e" / "js"
INSTALL_SECONDS = 120
RUN_SECONDS = 20


def install() -> Path:
    """The folder that holds the SDK's node_modules. It is named by the lock file, so it is installed once.

    The test is skipped where there is no Node or no registry; a package that is not the locked one fails it.
    """
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("node and npm are not installed: the AWS SDK for JavaScript is not tested")
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("package.json", "package-lock.json")))
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relay-trio-tests"
    folder = caches / digest.hexdigest()[:16]
    if folder.is_dir():
        return folder
    caches.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=caches) as name:
        made = Path(name, "made")
        made.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / file, made)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            assert not {"EINTEGRITY", "EUSAGE"} & set(done.stderr.split()), done.stderr
            reason = next(iter(done.stderr.splitlines()), "")
            pytest.skip(f"npm cannot install the AWS SDK for JavaScript: {reason}")
        try:
            made.rename(folder)
        except OSError:  # another run was faster
            assert folder.is_dir()
    return folder


@dataclass(frozen=True, slots=True)
class JavaScript:
    """The SDK as installed. ``authority`` is a PEM file with the certificate authority that Node trusts besides its
    own."""

    folder: Path
    authority: Path | None = None

    async def run(
        self,
        url: str,
        pair: AccessKeyPair,
        calls: Sequence[dict[str, Any]],
        *,
        region: str,
        handler: str = "default",
    ) -> dict[str, Any]:
        """What each call shows its user, by its name. Cancelled here: destroys, the process is ended."""
        job = {
            "endpoint": url,
            "region": region,
            "accessKeyId": pair.access_key_id,
            "secretAccessKey": pair.secret_access_key,
            "handler": handler,
            "calls": calls,
        }
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NODE_"))}
        environ["NODE_NO_WARNINGS"] = "1"
        if self.authority is not None:
            environ["NODE_EXTRA_CA_CERTS"] = str(self.authority)
        command = ["node", str(SOURCE / "bedrock.mjs"), str(self.folder)]
        with trio.fail_after(RUN_SECONDS):
            done = await trio.run_process(
                command,
                stdin=json.dumps(job).encode(),
                env=environ,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr[-2000:].decode()
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen
