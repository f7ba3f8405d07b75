"""The package imports and the demo runs where POSIX is missing: on Windows, and by the same guards on macOS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "relay_trio").rglob("*.py"))
    if path.name != "__main__.py"
]


def without_posix(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests" / "support" / "without_posix.py"), *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.e2e
def test_every_module_can_be_imported() -> None:
    done = without_posix(*MODULES)
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
def test_the_demo_passes_its_own_audit() -> None:
    done = without_posix("demo", "--seconds", "2", "--clients", "10", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
