"""The fuzzer's checks on drawn bytes, and that the fuzzer finds, keeps and replays what breaks one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire import fuzz, invariants

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", invariants.CHECKS)
@given(wire=st.binary(max_size=100), first=st.integers(0, 100), step=st.integers(1, 64))
def test_every_check_holds_for_drawn_bytes(name: str, wire: bytes, first: int, step: int) -> None:
    invariants.CHECKS[name](wire, invariants.cut_by(first, step))


@pytest.mark.parametrize("name", invariants.CHECKS)
def test_every_check_holds_for_mutated_seeds(name: str) -> None:
    draw = random.Random(1)
    for _ in range(300):
        invariants.check(name, fuzz.mutated(draw.choice(fuzz.seeds(name)), name, draw))


def test_what_breaks_a_check_is_kept_and_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutations reach what the seeds do not have: two tokens beside each other."""

    def no_two_blank_lines(wire: bytes, cut: invariants.Cut) -> None:
        assert b"\n\n\n\n" not in wire

    monkeypatch.setitem(invariants.CHECKS, "sse", no_two_blank_lines)
    assert not fuzz.blind("sse", seconds=0, runs=100_000, seed=1, artifacts=tmp_path)
    (kept,) = tmp_path.iterdir()
    with pytest.raises(AssertionError):
        fuzz.main(["--check", "sse", "--replay", str(kept)])


def test_a_run_without_findings_says_so_in_its_status(tmp_path: Path) -> None:
    assert fuzz.blind("json_array", seconds=0, runs=10, seed=1, artifacts=tmp_path)
    assert not list(tmp_path.iterdir())
