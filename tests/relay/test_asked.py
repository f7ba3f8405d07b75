"""Plain values between the web side and the pump: safe to share, and silent by default."""

from __future__ import annotations

import dataclasses

import pytest

from relay_trio.ledger.row import LedgerRow
from relay_trio.relay.asked import Answer


def test_an_answer_shows_the_row_as_it_goes_on() -> None:
    """Its head's timing is read from the row when the head is sent, not copied before."""
    row = LedgerRow("req_1", "k_01", 0.0, "messages")
    answer = Answer(200, [], row)
    row.attempts = 2
    assert answer.row.attempts == 2


def test_what_is_shared_between_tasks_cannot_be_changed() -> None:
    answer = Answer(200, [], LedgerRow("r", "k", 0.0, "m"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.status = 500  # type: ignore[misc]
