"""What a status alone shows about a credential."""

from __future__ import annotations

import pytest

from relay_trio.api.probe_answer import ProbeAnswer, probe_answer


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, ProbeAnswer.ACCEPTED), (204, ProbeAnswer.ACCEPTED),
        (401, ProbeAnswer.REFUSED), (403, ProbeAnswer.REFUSED),
        (429, ProbeAnswer.BUSY), (529, ProbeAnswer.BUSY), (302, ProbeAnswer.UNEXPECTED), (400, ProbeAnswer.UNEXPECTED),
        (404, ProbeAnswer.UNEXPECTED), (500, ProbeAnswer.UNEXPECTED),
    ],
)  # fmt: skip
def test_each_status_shows_one_thing(status: int, expected: ProbeAnswer) -> None:
    assert probe_answer(status) is expected


def test_an_upstream_may_refuse_by_other_statuses() -> None:
    assert probe_answer(400, frozenset({400})) is ProbeAnswer.REFUSED
    assert probe_answer(401, frozenset({400})) is ProbeAnswer.UNEXPECTED
