"""The simulator as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from relay_trio.simulator.__main__ import main


@pytest.mark.e2e
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_tells_its_url_serves_and_ends_on_a_signal(end: signal.Signals) -> None:
    command = [sys.executable, "-m", "relay_trio.simulator", "--chunks", "3..5", "--faults", "429:0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("simulator: ").strip()
        with urllib.request.urlopen(f"{url}/sim/truth", timeout=5) as answer:
            assert json.load(answer)["requests"] == 0
        process.send_signal(end)
        assert process.wait(timeout=5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("arguments", [["--chunks", "x"], ["--faults", "what:0.1"], ["--pace", "-1"]])
def test_bad_arguments_are_refused_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "error: " in capsys.readouterr().err


def test_a_port_that_is_not_ours_is_told() -> None:
    with pytest.raises(SystemExit, match="cannot listen on"):
        main(["--host", "192.0.2.1"])
