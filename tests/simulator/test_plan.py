"""Specs: where they stand, how they are read, what is drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from relay_trio.simulator import SimulatorSettings, SpecError
from relay_trio.simulator.plan import Plan, settle, settle_settings, split_model


def settled(*specs: str, draws_faults: bool = False, seed: int = 1, **settings: Any) -> Plan:
    return settle(SimulatorSettings(**settings), specs, Random(seed), draws_faults=draws_faults)


@pytest.mark.parametrize(
    ("model", "name", "spec"),
    [
        ("claude-sim", "claude-sim", ""),
        ("claude-sim:chunks=5,pace=0.01,fault=429", "claude-sim", "chunks=5,pace=0.01,fault=429"),
        ("claude-sim:fault=reset_after:1000", "claude-sim", "fault=reset_after:1000"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0", ""),
        ("anthropic.claude-3-haiku-20240307-v1:0:chunks=1", "anthropic.claude-3-haiku-20240307-v1:0", "chunks=1"),
        ("arn:aws:bedrock:eu:1:model/x", "arn:aws:bedrock:eu:1:model/x", ""),
    ],
)
def test_a_model_name_may_carry_a_spec(model: str, name: str, spec: str) -> None:
    assert split_model(model) == (name, spec)
    assert re.fullmatch(r"[A-Za-z0-9._:/@=,+-]+", model)


def test_later_specs_win_and_settings_are_beneath() -> None:
    plan = settled("chunks=2,tag=a", "", "chunks=3;delay=1.5", first_byte_delay_seconds=9.0, tokens_per_chunk=4)
    assert (plan.chunks, plan.tag, plan.delay, plan.tokens, plan.fault) == (3, "a", 1.5, 4, ())


def test_ranges_are_drawn_from_the_seed() -> None:
    plans = [settled("chunks=5..9,pace=0.1..0.2", seed=seed, first_byte_delay_seconds=(1, 3)) for seed in range(50)]
    assert {plan.chunks for plan in plans} == {5, 6, 7, 8, 9}
    assert all(0.1 <= plan.pace <= 0.2 and 1 <= plan.delay <= 3 for plan in plans)
    assert settled("chunks=5..90", seed=3).chunks == settled("chunks=5..90", seed=3).chunks


def test_a_named_fault_or_none_keeps_drawn_faults_away() -> None:
    rates = "silent:1"
    assert settled(draws_faults=True, faults=rates).fault_label == "silent"
    assert settled(faults=rates).fault == ()
    assert settled("fault=none", draws_faults=True, faults=rates).fault == ()
    assert settled("fault=gzip+stall_after:3", draws_faults=True, faults=rates).fault_label == "gzip+stall_after:3"


@pytest.mark.parametrize(
    "spec", ["chunks", "chunks=", "chunks=x", "chunks=-1", "chunks=5..2", "pace=nan", "pace=inf", "what=1", "usage=odd"]
)
def test_a_spec_that_cannot_be_read_says_why(spec: str) -> None:
    with pytest.raises(SpecError, match=r"expected|there is no|a status fault|add up|is not key=value"):
        settled(spec)


def test_settings_can_be_told_as_a_spec() -> None:
    fields = settle_settings("chunks=5..9,pace=0.1", "429:0.1")
    settings = replace(SimulatorSettings(), **fields)
    assert (settings.chunks, settings.chunk_interval_seconds) == ((5, 9), 0.1)
    with pytest.raises(SpecError, match="not a setting"):
        settle_settings("tag=x", "")
