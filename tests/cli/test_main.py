"""The command itself: its verbs, its exit statuses, and that ``python -m relay_trio`` is the same."""

from __future__ import annotations

import runpy
import sys

import pytest

from relay_trio import __version__
from relay_trio.cli.main import app, run

# It warns when it reads sys.argv below pytest, which is what these tests are about.
READS_ARGV = pytest.mark.filterwarnings("ignore:Cyclopts application invoked:UserWarning")

VERBS = ("demo", "init", "check", "serve", "keys", "usage")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    app(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_every_verb(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    app(arguments)
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert verb in shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    app([verb, "--help"])
    assert f"relay-trio {verb}" in capsys.readouterr().out


@READS_ARGV
@pytest.mark.parametrize("arguments", [["serv"], ["serve", "--no-such-option"], ["serve", "--config"]])
def test_wrong_usage_ends_with_2_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Scripts that read standard output must not find a complaint in it."""
    monkeypatch.setattr(sys, "argv", ["relay-trio", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.err
    assert not shown.out


@READS_ARGV
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "extra", "more"], "Unexpected: extra more"),
        (["demo", "--seed", "x"], '--seed must be a whole number, got "x"'),
        (["demo", "--seconds", "[/x]"], '--seconds must be a number, got "[/x]"'),
        (["demo", "--second", "3"], "Did you mean --seconds?"),
        (["chekc"], 'Did you mean "check"?'),
    ],
)
def test_wrong_usage_says_what_was_expected_and_what_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["relay-trio", *arguments])
    with pytest.raises(SystemExit):
        run()
    assert said in capsys.readouterr().err


@READS_ARGV
def test_help_says_what_the_exit_statuses_mean(capsys: pytest.CaptureFixture[str]) -> None:
    app(["--help"])
    assert "Exit status: 0 success, 1 a problem that was printed, 2 wrong usage" in capsys.readouterr().out


@READS_ARGV
def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["relay_trio", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("relay_trio", run_name="__main__")
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out.strip() == __version__
