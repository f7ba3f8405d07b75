"""What the paced upstream has to serve, and the bytes it serves.

An order is written into the user's prompt, because that is the one part of a request that every proxy passes on as it
came: headers are filtered, bodies re-serialised, paths rewritten. It carries an id, by which a client's hang-up is
found again in the upstream's log.

The stream is a correct Claude stream, so that the relay meters it and its ledger can be checked afterwards. In other
dialects the same words are served; those are in ``dialects``.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace

from relay_trio.simulator.vendors.claude.samples import MODEL

EVENTS_BESIDE_DELTAS = 5
"""message_start, content_block_start, content_block_stop, message_delta, message_stop."""

_MARK = re.compile(rb"\[\[order ([a-z_0-9= ]+)\]\]")
_TEXTS = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """One answer. Times are milliseconds, ``gap_us`` is microseconds; 0 is at once.

    ``seconds`` ends a stream properly after that time even if fewer than ``deltas`` were sent. ``hold`` is the wait
    between the terminal event and the end of the body. ``logged`` keeps the time of every event that was sent.
    """

    id: int = 0
    stream: int = 1
    deltas: int = 10
    gap_us: int = 0
    head: int = 0
    first: int = 0
    hold: int = 0
    seconds: int = 0
    size: int = 0
    logged: int = 0

    def numbered(self, number: int) -> Order:
        return replace(self, id=number)

    def prompt(self) -> str:
        return "[[order " + " ".join(f"{name}={value}" for name, value in asdict(self).items()) + "]]"


def find_order(body: bytes) -> Order | None:
    """The order in a request's body."""
    found = _MARK.search(body)
    if found is None:
        return None
    return Order(**{name: int(value) for name, _, value in (part.partition("=") for part in found[1].decode().split())})


def _event(kind: str, **members: object) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def delta(text: str) -> bytes:
    """One event with words."""
    return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


OPENING = _event(
    "message_start",
    message={
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1},
    },
) + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})

DELTAS = tuple(delta(f" tok{number:03}") for number in range(_TEXTS))
"""Numbered, so that a lost or doubled event shows; about 120 bytes each, as real ones are."""


def closing(output_tokens: int) -> bytes:
    return (
        _event("content_block_stop", index=0)
        + _event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": output_tokens},
        )
        + _event("message_stop")
    )


def whole_message(order: Order) -> bytes:
    """The answer to an order that is not for a stream: about 1 KB."""
    message = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "lorem ipsum " * 65}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": max(1, order.deltas)},
    }
    return json.dumps(message).encode()
