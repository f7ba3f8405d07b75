"""A translated stream has pings in its gaps, while its attempt lives and its own limit on silence runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from relay_trio.outcome import Word
from tests.support import bedrock_scripts, scripts
from tests.support.memory_harness import open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


async def test_a_gap_has_a_ping_every_fifteen_seconds(autojump_clock: MockClock) -> None:
    """And the stream is whole: what the row counts is the upstream's alone."""
    async with open_harness(bedrock_scripts.streams, **bedrock_scripts.ACCOUNTS) as harness:
        plain = await harness.serve(harness.request())
        counted = harness.rows[0].sent_bytes
    async with open_harness(bedrock_scripts.pauses, **bedrock_scripts.ACCOUNTS) as harness:
        client = await harness.serve(harness.request())
        assert client.body.count(PING) == plain.body.count(PING) + 2
        assert client.body.replace(PING, b"") == plain.body.replace(PING, b"")
        (row,) = harness.rows
        assert row.sent_bytes == counted
        assert row.outcome is not None
        assert row.outcome.word is Word.COMPLETED
        harness.assert_at_rest()


async def test_an_upstream_that_stays_silent_ends_by_its_own_limit_whatever_was_sent(autojump_clock: MockClock) -> None:
    """A ping is no sign of life of the upstream's."""
    async with open_harness(bedrock_scripts.falls_silent, **bedrock_scripts.ACCOUNTS) as harness:
        began = trio.current_time()
        client = await harness.serve(harness.request())
        assert trio.current_time() - began == pytest.approx(300, abs=7)
        assert client.body.count(PING) in (19, 20)  # the last one may be due in the moment of the end
        assert client.body.rstrip().rpartition(b"event: ")[2].startswith(b"error")
        (row,) = harness.rows
        assert row.outcome is not None
        assert row.outcome.word is Word.IDLE_TIMEOUT
        harness.assert_at_rest()


async def test_a_stream_that_passes_has_the_upstreams_pings_alone(autojump_clock: MockClock) -> None:
    async with open_harness(scripts.stalls) as harness:
        client = await harness.serve(harness.request())
        assert PING not in client.body
