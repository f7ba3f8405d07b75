"""``relay-trio demo``: it runs, it ends in good order, and it does not overlook what went wrong."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from relay_trio.api.metering import UsageFold
from relay_trio.demo import demo as demo_module
from relay_trio.demo.demo import demo
from relay_trio.pool.slots import SlotTable
from relay_trio.usage import NO_USAGE
from relay_trio.vendors.claude.stream import ClaudeFold
from relay_trio.vendors.gemini.stream import GeminiUsage

pytestmark = pytest.mark.e2e


def test_demo_ends_with_nothing_held_and_one_row_for_each_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(seconds=2, clients=20, seed=1) == 0
    out, err = capsys.readouterr()
    end = re.search(
        r"(\d+) requests: (\d+) completed, (\d+) hung up, (\d+) failed   "
        r"slots held after the last request: 0   usage rows (\d+)/(\d+)",
        out,
    )
    assert end is not None
    requests, completed, gone, failed, rows, expected = map(int, end.groups())
    assert requests == rows == expected == completed + gone + failed
    assert completed > 0
    assert gone > 0
    assert "problem" not in err
    tokens = re.search(r"tokens counted exactly: anthropic ([\d,]+)   bedrock ([\d,]+)   gemini ([\d,]+)\n", out)
    assert tokens is not None, out


def test_demo_prints_a_curl_line_and_a_row_for_each_account(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(seconds=0.3, clients=2, seed=1, fault="none", disconnect=0) == 0
    out = capsys.readouterr().out
    assert re.search(r"relay      http://127\.0\.0\.1:\d+ ", out)
    assert re.search(r"curl -N http://127\.0\.0\.1:\d+/v1/messages -H 'x-api-key: rt_demo'", out)
    rows = re.findall(r"  ([a-z0-9-]+) +(anthropic|bedrock|gemini) +0/\d+ +ready", out)
    assert rows == [
        ("claude-a", "anthropic"),
        ("claude-b", "anthropic"),
        ("bedrock-eu", "bedrock"),
        ("gemini-1", "gemini"),
    ]


def test_demo_uses_another_port_when_its_own_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            occupant.bind(("127.0.0.1", 8400))
            occupant.listen()
        except OSError:
            pass  # somebody else's: as good
        assert demo(seconds=0.2, clients=1, seed=1) == 0
    assert "port 8400 is taken" in capsys.readouterr().err


def test_demo_refuses_a_fault_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(fault="earthquake:0.5") == 2
    assert "no fault 'earthquake'" in capsys.readouterr().err


def test_demo_finds_a_slot_that_was_not_given_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given_back = SlotTable.give_back
    kept: list[str] = []

    def keep_one(self: SlotTable, account: str) -> None:
        if kept:
            given_back(self, account)
        kept.append(account)

    monkeypatch.setattr(SlotTable, "give_back", keep_one)
    assert demo(seconds=0.3, clients=3, seed=1) == 1
    out, err = capsys.readouterr()
    assert "slots held after the last request: 1" in out
    assert "problem: slots held after the last request: 1" in err


def test_demo_finds_a_row_that_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read_rows = demo_module.read_rows
    monkeypatch.setattr(demo_module, "read_rows", lambda ledger: read_rows(ledger)[1:])
    assert demo(seconds=0.3, clients=3, seed=1, disconnect=0) == 1
    assert "problem: 1 requests with 0 rows: demo-" in capsys.readouterr().err


def test_demo_finds_tokens_that_were_not_counted_whoever_served_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fold in (UsageFold, ClaudeFold, GeminiUsage):  # documents and Converse, Claude's events, Gemini
        monkeypatch.setattr(fold, "stats", lambda *_: NO_USAGE)
    assert demo(seconds=0.3, clients=6, seed=1, disconnect=0, fault="none") == 1
    out, err = capsys.readouterr()
    requests = re.search(r"(\d+) requests: \1 completed", out)
    assert requests is not None
    assert f"problem: {requests[1]} completed requests without exact tokens: req_" in err


def test_ctrl_c_ends_the_demo_with_its_closing_account() -> None:
    command = [sys.executable, "-m", "relay_trio", "demo", "--seconds", "60", "--clients", "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "then press Ctrl-C" in line:
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "slots held after the last request: 0" in out
    assert "Traceback" not in err
