"""Every event of a stream of server-sent events. The relay itself parses few of them."""

from __future__ import annotations

from relay_trio.wire.long_runs import MAX_BYTES
from relay_trio.wire.sse import Event, EventBlocks, parse_block


def sse_events(*pieces: bytes, max_block_bytes: int = MAX_BYTES) -> list[Event]:
    """The whole events in ``pieces``, which follow each other."""
    blocks = EventBlocks(max_block_bytes=max_block_bytes)
    events = [parse_block(block) for piece in pieces for block in blocks.feed(piece)]
    return [event for event in events if event is not None]
