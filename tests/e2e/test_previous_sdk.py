"""The previous generation of the SDKs sees through the relay what it sees without it.

They speak an older wire (anthropic: ``x-api-key``, version 2023-06-01, ``?beta=true``; google-genai: ``/v1beta``) and
need an environment of their own, whose interpreter ``RELAY_TRIO_PREVIOUS_SDK_PYTHON`` names (``.ci/run`` makes one).
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.accounts import gemini_account
from tests.support.socket_harness import KEY, open_harness

if TYPE_CHECKING:
    from relay_trio.simulator import Simulator
    from tests.support.socket_harness import SocketHarness

PYTHON = os.environ.get("RELAY_TRIO_PREVIOUS_SDK_PYTHON")
SCRIPT = Path(__file__).with_name("previous_sdk.py")
GOOGLE_SCRIPT = Path(__file__).with_name("previous_google_sdk.py")


def _has(package: str) -> bool:
    return bool(PYTHON) and bool(list(Path(PYTHON or "").parent.parent.glob(f"lib/python*/site-packages/{package}")))


@pytest.mark.skipif(not PYTHON, reason="RELAY_TRIO_PREVIOUS_SDK_PYTHON names no interpreter with anthropic 0.125")
async def test_the_previous_sdk_sees_the_same_with_and_without_the_relay(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Text, stop reason, usage, error class and status; and its numbers are the ledger's."""
    direct, relayed = await _both(simulator.base_url, relay.url)
    assert relayed["version"].startswith("0.")
    wire = next(record for record in simulator.truth.records if record.target == b"/v1/messages")
    assert wire.header(b"anthropic-version") == b"2023-06-01"
    assert any(record.target == b"/v1/messages?beta=true" for record in simulator.truth.records)
    for name, without in direct.items():
        assert (name, relayed[name]) == (name, without)
    rows = [row for row in await relay.rows() if row["route"] == "claude.messages" and row["outcome"] == "completed"]
    usages = [relayed[name]["usage"] for name in ("create", "stream", "stream", "tool", "thinking", "beta")]
    usages.append(relayed["beta stream"]["usage"])
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [
        (usage["input_tokens"], usage["output_tokens"]) for usage in usages
    ]
    assert {(row["cache_creation_tokens"], row["cache_read_tokens"]) for row in rows} == {(7, 5)}
    assert {row["usage_source"] for row in rows} == {"exact"}


@pytest.mark.skipif(
    not _has("google/genai"), reason="RELAY_TRIO_PREVIOUS_SDK_PYTHON names no interpreter with google-genai 1.75"
)
async def test_the_previous_google_genai_sees_the_same_with_and_without_the_relay(
    simulator: Simulator, folder: Path
) -> None:
    """Text, finish reason, usage, error class and status; its numbers are the ledger's; and every cut is an error."""
    account = gemini_account("one", simulator.base_url)
    async with open_harness(folder, [account], breaker={"enabled": False}) as relay:
        direct, relayed = await _both(simulator.base_url, relay.url, GOOGLE_SCRIPT)
        assert relayed["version"].startswith("1.")
        assert any(record.target.startswith(b"/v1beta/models/") for record in simulator.truth.records)
        for name, without in direct.items():
            if name.startswith("cut"):
                assert relayed[name], name
            else:
                assert (name, relayed[name]) == (name, without)
        rows = [row for row in await relay.rows() if row["route"] in ("gemini.generate", "gemini.stream")]
        usages = [relayed["generate"], relayed["stream"][-1], relayed["tool"][-1], relayed["thinking"]]
        assert [row["total_tokens"] for row in rows if row["outcome"] == "completed"] == [
            usage["usage_metadata"]["total_token_count"] for usage in usages
        ]


async def _both(direct_url: str, relay_url: str, script: Path = SCRIPT) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    for url in (direct_url, relay_url):
        assert PYTHON is not None
        command = [PYTHON, "-I", str(script), url, KEY]
        run = partial(subprocess.run, command, capture_output=True, text=True, timeout=20, check=False)
        done = await trio.to_thread.run_sync(run)
        assert done.returncode == 0, done.stderr[-2000:]
        seen.append(json.loads(done.stdout))
    return seen
