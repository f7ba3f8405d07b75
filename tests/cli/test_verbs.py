"""An operator's first minutes, with real processes: init, check, keys, usage."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.canned_upstream import API_KEY, account_toml

if TYPE_CHECKING:
    from tests.support.canned_upstream import Served

pytest.importorskip("relay_trio.cli.main")

pytestmark = pytest.mark.e2e


def relay_trio(directory: Path, *arguments: str, key: str = API_KEY) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "COV"))}
    root = str(Path(__file__).parents[2])
    environ |= {"ANTHROPIC_API_KEY": key, "PYTHONPATH": root}
    return subprocess.run(
        [sys.executable, "-m", "relay_trio", *arguments],
        cwd=directory, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_from_an_empty_directory_to_a_key(tmp_path: Path, serve_upstream: Served) -> None:
    """Each command says what comes next, and no output but ``keys create``'s holds a secret."""
    made = relay_trio(tmp_path, "init")
    assert (made.returncode, made.stderr) == (0, "")
    assert relay_trio(tmp_path, "init").returncode == 1

    with serve_upstream(200) as upstream:
        (tmp_path / "relay.toml").write_text(account_toml("claude-a", upstream.base_url))
        checked = relay_trio(tmp_path, "check")
    assert checked.returncode == 0, checked.stderr
    assert "key accepted" in checked.stdout
    assert API_KEY not in checked.stdout + checked.stderr

    created = relay_trio(tmp_path, "keys", "create", "team-x", "--models", "claude-*")
    assert created.returncode == 0, created.stderr
    assert re.search(r"^export ANTHROPIC_BASE_URL=\S+ ANTHROPIC_AUTH_TOKEN=rt_\S+$", created.stdout, re.MULTILINE)
    assert "team-x" in relay_trio(tmp_path, "keys", "list").stdout
    assert relay_trio(tmp_path, "keys", "revoke", "k_01").returncode == 0

    used = relay_trio(tmp_path, "usage", "--by", "model", "--since", "7d", "--json")
    assert used.returncode == 0, used.stderr
    assert json.loads(used.stdout)["lines"] == []


def test_problems_end_with_1_and_bad_usage_with_2(tmp_path: Path) -> None:
    assert relay_trio(tmp_path, "check").returncode == 1
    (tmp_path / "relay.toml").write_text('[[account]]\nmax_concurrency = "ten"\n')
    checked = relay_trio(tmp_path, "check", "--config", "relay.toml")
    assert checked.returncode == 1
    assert checked.stdout == ""
    assert checked.stderr.endswith("3 problems. Nothing was started.\n")
    assert "Traceback" not in checked.stderr
    assert relay_trio(tmp_path, "usage", "--since", "soon").returncode == 2
    assert relay_trio(tmp_path, "usage", "--by", "nothing").returncode == 2
    assert relay_trio(tmp_path, "keys", "create").returncode == 2
