"""How the verbs show problems."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relay_trio.cli.print_problems import print_problems
from relay_trio.config import Problem

if TYPE_CHECKING:
    import pytest


def test_problems_stand_in_two_columns_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    problems = (
        Problem("account[0].max_concurrency", 'must be a whole number, got "ten"'),
        Problem("account[1].provider", "is required"),
    )
    print_problems(Path("relay.toml"), problems)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "relay.toml\n"
        '  account[0].max_concurrency   must be a whole number, got "ten"\n'
        "  account[1].provider          is required\n"
        "2 problems. Nothing was started.\n"
    )


def test_a_problem_of_the_whole_file_does_not_repeat_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems(Path("a/relay.toml"), (Problem("a/relay.toml", "does not exist: relay-trio init writes one"),))
    assert capsys.readouterr().err == (
        "a/relay.toml\n  does not exist: relay-trio init writes one\n1 problem. Nothing was started.\n"
    )


def test_a_command_that_starts_nothing_says_so_in_its_own_way(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems(Path("relay.toml"), (Problem("a", "is required"),), end="Nothing was done.")
    assert capsys.readouterr().err.endswith("1 problem. Nothing was done.\n")
