"""Sums of sums, and lines that people can read."""

from __future__ import annotations

from relay_trio.ledger.report import UsageLine, total, with_names


def line(group: str, requests: int, usd: float) -> UsageLine:
    return UsageLine(group, requests, 1, 2, 3, 4, 5, usd, 6, 7, 8)


def test_the_total_sums_every_figure() -> None:
    assert total([line("a", 10, 0.5), line("b", 20, 0.25)]) == UsageLine("total", 30, 2, 4, 6, 8, 10, 0.75, 12, 14, 16)


def test_the_total_of_nothing_is_nothing() -> None:
    assert total([]) == UsageLine("total", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_key_has_its_name_beside_its_id_if_it_has_one() -> None:
    lines = with_names([line("k_01", 1, 0.0), line("cfg_team-y", 1, 0.0)], {"k_01": "team-x"})
    assert [(named.group, named.name) for named in lines] == [("k_01", "team-x"), ("cfg_team-y", "")]
