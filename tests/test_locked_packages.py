"""What is installed by lock files has hashes, and benchmarks run it without the environment of their user."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.stream import Target
from benchmarks.systems import base, litellm, portkey
from benchmarks.systems.base import LOCKED, System

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_every_requirement_has_hashes_and_one_version() -> None:
    requirements = re.split(r"\n(?=[a-z0-9])", (LOCKED / "litellm.txt").read_text(), flags=re.IGNORECASE)[1:]
    assert len(requirements) > 50
    for requirement in requirements:
        assert re.match(r"[\w.\[\]-]+==[\w.]+( ; [^\n]*)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$", requirement)


@pytest.mark.parametrize(
    "folder", [LOCKED / "portkey", Path(__file__).parent / "e2e" / "js"], ids=lambda path: path.name
)
def test_every_npm_package_has_a_hash_and_no_place(folder: Path) -> None:
    """The place is the registry that npm is configured for."""
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run to install; nothing is."""
    found: list[list[str]] = []

    def record(command: Sequence[str | Path], **more: object) -> None:
        found.append([str(part) for part in command])
        if "npm" in found[-1] or "pip" in found[-1]:
            raise base.NotMeasuredError("not installed by a test")

    for module in (litellm, portkey):
        monkeypatch.setattr(module, "run_setup", record)
    monkeypatch.setattr(portkey.shutil, "which", lambda name: name)
    return found


def test_installers_check_hashes_and_run_nothing(commands: list[list[str]], tmp_path: Path) -> None:
    for system in (litellm.LiteLLM, portkey.Portkey):
        with pytest.raises(base.NotMeasuredError):
            system(tmp_path).prepare()
    _, pip, npm = commands
    assert {"--require-hashes", "--only-binary", ":all:"} <= set(pip)
    assert npm[:2] == ["npm", "ci"]
    assert "--ignore-scripts" in npm


def test_a_system_has_no_environment_but_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    monkeypatch.setattr(base, "wait_ready", lambda running: running.root.wait())
    system: Any = System(tmp_path)
    directory = system.fresh_directory()
    running = system.launch(directory, ["env"], Target(1, ()), {"OWN": "1"})
    lines = (running.directory / "log").read_text().splitlines()
    assert sorted(line.partition("=")[0] for line in lines) == ["HOME", "LANG", "OWN", "PATH"]
    assert f"HOME={directory}" in lines
