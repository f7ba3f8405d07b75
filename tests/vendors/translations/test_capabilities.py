"""The table: each name stands in one row, and Bedrock's half of it is what the simulator's Bedrock takes."""

from __future__ import annotations

from collections import Counter

import pytest

from relay_trio.simulator.vendors.bedrock.capabilities import BETAS
from relay_trio.vendors.translations.capabilities import CAPABILITIES, MEMBERS


def test_a_name_stands_in_one_row() -> None:
    for names in (
        [row.name for row in CAPABILITIES],
        [beta for row in CAPABILITIES for beta in row.betas],
        [member for row in CAPABILITIES for member in row.members],
        [member for row in CAPABILITIES for member in row.tool_members],
    ):
        assert max(Counter(names).values()) == 1


def test_what_bedrock_knows_are_dated_betas_that_it_takes() -> None:
    assert {beta for row in CAPABILITIES if row.bedrock for beta in row.betas} == BETAS


def test_no_member_is_both_a_capabilitys_and_always_known() -> None:
    assert not MEMBERS & {member for row in CAPABILITIES for member in row.members}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("context-management-2025-06-27", {"context_management"}),
        ("compact-*", {"context_management"}),
        ("output_config", {"output_config"}),
        ("cache_scope", {"cache_scope"}),
        ("new-thing-2027-01-01", set()),
    ],
)
def test_a_configuration_means_a_row_by_its_name_a_beta_or_a_member(pattern: str, names: set[str]) -> None:
    assert {row.name for row in CAPABILITIES if row.is_meant_by(pattern)} == names
