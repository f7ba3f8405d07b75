"""The lines that ``keys create`` prints, and those of README, pasted into a shell that has nothing else set."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.cli.keys import create
from relay_trio.keys import ring
from relay_trio.simulator import SimulatorSettings, open_simulator
from tests.support.accounts import account, bedrock_account, gemini_account
from tests.support.javascript import SOURCE, install
from tests.support.socket_harness import PROMPT, SIGV4_SECRET, open_harness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.support.socket_harness import SocketHarness

README = Path(__file__).parents[2] / "README.md"
MODEL = "anthropic.claude-sim-v1:0"
MESSAGES = [{"role": "user", "content": PROMPT}]
CONVERSED = [{"role": "user", "content": [{"text": PROMPT}]}]


CALLS = {
    "claude.messages": (
        "import anthropic; client = anthropic.Anthropic(); "
        f"client.messages.create(model='claude-sim', max_tokens=9, messages={MESSAGES})"
    ),
    "bedrock.invoke": (
        "import anthropic; client = anthropic.AnthropicBedrock(); "
        f"client.messages.create(model='{MODEL}', max_tokens=9, messages={MESSAGES})"
    ),
    "bedrock.converse": (
        "import boto3; client = boto3.client('bedrock-runtime'); "
        f"client.converse(modelId='{MODEL}', messages={CONVERSED})"
    ),
    "gemini.generate": (
        "from google import genai; client = genai.Client(); "
        f"client.models.generate_content(model='gemini-sim', contents='{PROMPT}')"
    ),
}
"""Python that finds address, key and region in the environment, by the route that it takes."""


def python(*routes: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(CALLS[route] for route in routes)]


def javascript() -> list[str]:
    call = {"name": "call", "operation": "Converse", "input": {"modelId": MODEL, "messages": CONVERSED}}
    job = json.dumps({"calls": [call]})
    script = f"echo {shlex.quote(job)} | node {SOURCE}/bedrock.mjs {install()} | grep '\"error\":null'"
    return ["sh", "-c", script]


@dataclass
class Shell:
    """A shell in which lines are pasted, beside a relay with an account of each vendor."""

    relay: SocketHarness
    config: Path
    capsys: pytest.CaptureFixture[str]

    async def keys_create(self, name: str, *, pair: bool = False) -> tuple[str, str]:
        """The new key, and the lines that are for a client. Cancelled here: atomic."""
        assert await trio.to_thread.run_sync(partial(create, name, pair=pair, config=self.config)) == 0
        lines = self.capsys.readouterr().out.splitlines()
        return lines[0].split()[1], "\n".join(lines[2:])

    async def run(self, lines: str, command: Iterable[str]) -> list[str]:
        """Paste ``lines`` and run ``command``: the routes that the relay served. Cancelled here: destroys."""
        before = len(await self.relay.rows())
        script = f"set -eu\n{lines}\n{shlex.join(command)}"
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.config.parent), "NODE_NO_WARNINGS": "1"}
        done = await trio.run_process(
            ["sh", "-c", script], env=environ, capture_stdout=True, capture_stderr=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        rows = (await self.relay.rows())[before:]
        assert {row["outcome"] for row in rows} == {"completed"}
        return [row["route"] for row in rows]


@pytest.fixture
async def shell(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    monkeypatch.setattr(ring, "RELOAD_SECONDS", 0.0)
    monkeypatch.setenv("RELAY_SIGV4_SECRET", SIGV4_SECRET)
    async with open_simulator(SimulatorSettings(chunks=3)) as simulator:
        accounts = [
            account("claude", simulator.base_url, models=["claude-*"]),
            bedrock_account("bedrock", simulator.base_url, models=["anthropic.*"]),
            gemini_account("gemini", simulator.base_url, models=["gemini-*"]),
        ]
        async with open_harness(folder, accounts) as relay:
            server = {
                "listeners": [relay.url.removeprefix("http://")],
                "ledger": str(folder / "relay.db"),
                "sigv4_secret": "env:RELAY_SIGV4_SECRET",
            }
            config = tmp_path / "relay.toml"
            config.write_text(toml("[server]", server) + "".join(toml("[[account]]", each) for each in accounts))
            config.chmod(0o600)
            yield Shell(relay, config, capsys)


def toml(title: str, table: dict[str, object]) -> str:
    return "\n".join([title, *(f"{name} = {json.dumps(value)}" for name, value in table.items()), ""])


async def test_the_lines_of_keys_create_serve_every_client(shell: Shell) -> None:
    """With a secret; boto3 alone sends none on plain http."""
    _, lines = await shell.keys_create("team-x")
    routes = ["claude.messages", "bedrock.invoke", "gemini.generate"]
    assert await shell.run(lines, python(*routes)) == routes


async def test_the_lines_of_keys_create_with_a_pair_serve_every_client(shell: Shell) -> None:
    _, lines = await shell.keys_create("team-x", pair=True)
    assert await shell.run(lines, python(*CALLS)) == list(CALLS)


async def test_the_lines_of_keys_create_with_a_pair_serve_the_aws_sdk_for_javascript(shell: Shell) -> None:
    _, lines = await shell.keys_create("team-x", pair=True)
    assert await shell.run(lines, javascript()) == ["bedrock.converse"]


@pytest.mark.parametrize(
    ("row", "route"),
    [
        ("Anthropic SDK (Python, JS)", "claude.messages"),
        ("Claude Code", "claude.messages"),
        ("AnthropicBedrock (Python, JS)", "bedrock.invoke"),
        ("boto3, AWS SDK for JavaScript and others", "bedrock.converse"),
        ("google-genai (Python, JS), gemini-cli", "gemini.generate"),
    ],
)
async def test_the_lines_of_readme_serve_the_clients_that_they_are_for(row: str, route: str, shell: Shell) -> None:
    """With the relay's own address and key; the region is that of README's example account."""
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", README.read_text(), re.MULTILINE))
    cell = rows[row].partition("; over https")[0]
    with_pair = "--aws" in cell
    key, lines = await shell.keys_create("team-x", pair=with_pair)
    filled = cell.replace("<relay key>", key).replace("http://127.0.0.1:8400", shell.relay.url)
    exports = [f"export {found}" for found in re.findall(r"`(\w+=[^`]+)`", filled)]
    if with_pair:
        exports += [line for line in lines.splitlines() if "AWS_SECRET_ACCESS_KEY" in line]
    assert len(exports) > 1
    assert await shell.run("\n".join(exports), python(route)) == [route]
