"""Whether the client is there: it is, until somebody writes down since when it is not."""

from __future__ import annotations

from relay_trio.relay.presence import ClientPresence


def test_a_client_is_there_and_has_not_timed_out_until_it_is_said() -> None:
    presence = ClientPresence()
    assert presence.left_at is None
    assert not presence.has_timed_out


def test_leaving_at_the_clocks_zero_is_leaving() -> None:
    """``0.0`` is a moment: whoever asks compares with None."""
    assert ClientPresence(0.0).left_at is not None
