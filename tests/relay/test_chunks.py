"""What travels on the channel, and the token record a stream ends with."""

from __future__ import annotations

import dataclasses

import pytest

from relay_trio.errors import UpstreamClosed
from relay_trio.relay.chunks import Data, StreamDone, StreamFailed
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats


def test_the_total_is_the_sum_of_the_four_and_nothing_else() -> None:
    assert UsageStats(1, 20, 300, 4000, UsageSource.EXACT).total_tokens == 4321
    assert "total_tokens" not in {field.name for field in dataclasses.fields(UsageStats)}


def test_an_explicit_zero_is_a_value_and_no_usage_is_none() -> None:
    """Only the source tells them apart: both have zero tokens."""
    zero = UsageStats(source=UsageSource.EXACT)
    assert zero.total_tokens == NO_USAGE.total_tokens == 0
    assert zero != NO_USAGE
    assert NO_USAGE.source is UsageSource.NONE


def test_an_error_says_nothing_to_the_client_unless_it_is_given_words() -> None:
    """Last words are the dialect's; bytes in the wrong dialect would be worse than a cut."""
    error = StreamFailed(UpstreamClosed("gone"))
    assert (error.closing_event, error.is_error_forwarded) == (b"", False)


@pytest.mark.parametrize(
    ("chunk", "field"),
    [
        (Data(b"x"), "content"),
        (StreamDone(NO_USAGE), "usage"),
        (StreamFailed(UpstreamClosed("gone")), "error"),
        (NO_USAGE, "source"),
    ],
)
def test_chunks_cannot_be_changed_on_their_way(chunk: object, field: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(chunk, field, None)
