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
from relay_trio.cli.main import app
from relay_trio.demo import demo as demo_module
from relay_trio.demo.demo import demo
from relay_trio.demo.ports import listen
from relay_trio.pool.slots import SlotTable
from relay_trio.usage import NO_USAGE
from relay_trio.vendors.claude.stream import ClaudeFold
from relay_trio.vendors.gemini.usage import GeminiUsage
from tests.support.terminal import run_in_a_terminal

pytestmark = pytest.mark.e2e


def test_demo_ends_with_nothing_held_and_one_row_for_each_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(seconds=2, clients=20, seed=1) == 0
    out, err = capsys.readouterr()
    end = re.search(
        r"requests  (\d+): (\d+) completed, (\d+) hung up, (\d+) failed\n.*usage     (\d+) rows for (\d+) requests\n",
        out,
        re.DOTALL,
    )
    assert end is not None
    requests, completed, gone, failed, rows, expected = map(int, end.groups())
    assert requests == rows == expected == completed + gone + failed
    assert completed > 0
    assert gone > 0
    assert not err or err.startswith("port ")
    assert re.search(r"tokens    anthropic [\d,]+, bedrock [\d,]+, gemini [\d,]+\n", out), out
    assert re.search(r"\nPASS  every slot, row and token adds up(; the .+ injected)?\n\Z", out), out


def test_demo_prints_a_curl_line_and_a_row_for_each_account(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(seconds=0.3, clients=2, seed=1, fault="none", disconnect=0) == 0
    out = capsys.readouterr().out
    assert re.search(r"relay    http://127\.0\.0\.1:\d+\n", out)
    assert re.search(r"\ncurl -N http://127\.0\.0\.1:\d+/v1/messages \\\n  -H 'x-api-key: rt_demo'", out)
    rows = re.findall(r"^  ([a-z0-9-]+) +0/\d+ .* ready$", out, re.MULTILINE)
    assert rows == ["claude-a", "claude-b", "bedrock-eu", "gemini-1"]


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


def test_demo_refuses_a_chosen_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("--port", 0, 8400) as occupant:
        assert demo(seconds=0.2, clients=1, port=occupant.getsockname()[1]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"--port \d+: the port is taken by another program; choose another, or 0 for .*\n", err)


def test_demo_runs_on_the_chosen_ports(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("--port", 0, 8400) as first, listen("--port", 0, 8400) as second:
        ports = [sock.getsockname()[1] for sock in (first, second)]
    assert demo(seconds=0.2, clients=1, seed=1, port=ports[0], admin_port=ports[1]) == 0
    out = capsys.readouterr().out
    assert f"relay    http://127.0.0.1:{ports[0]}\n" in out
    assert f"inside   http://127.0.0.1:{ports[1]}/debug/invariants\n" in out


def test_two_demos_that_begin_at_one_moment_both_run() -> None:
    command = [sys.executable, "-m", "relay_trio", "demo", "--seconds", "0.3", "--clients", "2"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended


def test_demo_takes_the_seconds_it_is_given_and_a_bounded_time_for_the_last_requests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demo(seconds=1, clients=6, seed=1, disconnect=0, fault="stall_after:0:1") == 0
    time_line = re.search(r"time      1\.0 s of traffic, and (\d\.\d) s to the end", capsys.readouterr().out)
    assert time_line is not None
    assert float(time_line[1]) <= 2.5, "clients hang up after 2 s; the rest is what a loaded machine adds"


def test_demo_says_that_its_failures_were_injected(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(seconds=1, clients=6, seed=1, disconnect=0, fault="reset_before_head:1") == 0
    out = capsys.readouterr().out
    assert re.search(r"injected  reset_before_head:1\n", out)
    assert re.search(r"\nPASS  every slot, row and token adds up; the \d+ failures were injected\n", out)


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked:UserWarning")
def test_demo_refuses_zero_clients(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["demo", "--clients", "0"])
    assert ended.value.code == 2
    assert "--clients" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_demo_fits_a_terminal_of_80_columns() -> None:
    """Measured where an operator looks: on a terminal, which is also where the table is drawn over itself."""
    shown = "".join(run_in_a_terminal("demo", "--seconds", "2", "--seed", "999999", "--fault", "429:0.3", columns=80))
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    assert "PASS" in shown
    assert [line for line in lines if len(line) > 80] == []
    assert "…" not in shown, "nor is anything cut to fit"


def test_a_reader_that_leaves_ends_the_demo_silently() -> None:
    """``relay-trio demo | head -1``"""
    command = [sys.executable, "-m", "relay_trio", "demo", "--seconds", "1", "--clients", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert not err or re.fullmatch(r"(port \d+ is taken.*\n)*", err), err


def test_demo_suggests_the_fault_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(fault="429:0.1,stal:0.1") == 2
    assert capsys.readouterr().err == '--fault: there is no fault "stal"; did you mean stall?\n'


def test_demo_refuses_a_fault_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(fault="earthquake:0.5") == 2
    assert 'no fault "earthquake"' in capsys.readouterr().err


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
    out = capsys.readouterr().out
    assert "  problem   slots held after the last request: 1\n" in out
    assert out.endswith("\nFAIL  1 problem, listed above\n")


def test_demo_finds_a_row_that_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read_rows = demo_module.read_rows
    monkeypatch.setattr(demo_module, "read_rows", lambda ledger: read_rows(ledger)[1:])
    assert demo(seconds=0.3, clients=3, seed=1, disconnect=0) == 1
    assert "problem   1 requests with 0 rows: demo-" in capsys.readouterr().out


def test_demo_finds_tokens_that_were_not_counted_whoever_served_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fold in (UsageFold, ClaudeFold, GeminiUsage):  # documents and Converse, Claude's events, Gemini
        monkeypatch.setattr(fold, "stats", lambda *_: NO_USAGE)
    assert demo(seconds=0.3, clients=6, seed=1, disconnect=0, fault="none") == 1
    out = capsys.readouterr().out
    requests = re.search(r"requests  \d+: (\d+) completed", out)
    assert requests is not None
    assert f"problem   {requests[1]} completed requests without exact tokens: req_" in out


def test_ctrl_c_ends_the_demo_with_its_closing_account() -> None:
    command = [sys.executable, "-m", "relay_trio", "demo", "--seconds", "60", "--clients", "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "press Ctrl-C" in line:
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "\nPASS  " in out
    assert "Traceback" not in err
