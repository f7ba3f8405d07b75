"""The closed vocabulary: what it may say, and that it says it in the same words everywhere."""

from __future__ import annotations

import itertools

import pytest

from relay_trio.outcome import (
    COMPLETED,
    DisconnectReason,
    Outcome,
    Phase,
    Who,
    Word,
    ended_by_client,
    ended_by_defect,
    ended_by_shutdown,
)


def test_a_code_is_two_letters_who_then_where() -> None:
    for who, phase in itertools.product(Who, Phase):
        assert Outcome(Word.INTERNAL, who, phase).code == who.value + phase.value
        assert len(who.value) == len(phase.value) == 1


def test_no_letter_stands_for_two_things() -> None:
    """An enum would take a repeated value for an alias, silently."""
    assert len(Who.__members__) == len(Who)
    assert len(Phase.__members__) == len(Phase)
    assert len(Word.__members__) == len(Word)


def test_a_completed_request_is_two_dashes() -> None:
    assert (COMPLETED.word.value, COMPLETED.code) == ("completed", "--")


@pytest.mark.parametrize(
    ("ended", "word", "who"),
    [
        (ended_by_client, "client_disconnect", "C"),
        (ended_by_shutdown, "shutdown", "K"),
        (ended_by_defect, "internal", "I"),
    ],
)
def test_each_end_keeps_the_phase_it_came_in(ended: object, word: str, who: str) -> None:
    for phase in Phase:
        outcome = ended(phase)  # type: ignore[operator]
        assert (outcome.word.value, outcome.code) == (word, who + phase.value)


def test_a_client_that_was_cut_for_its_slowness_timed_out_and_no_other() -> None:
    timed_out = {reason for reason in DisconnectReason if reason.is_timeout}
    assert timed_out == {DisconnectReason.STALLED, DisconnectReason.BODY_TIMEOUT}
