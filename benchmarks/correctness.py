"""Before anything is measured: does what arrives equal what was sent, and is a request's answer an answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.dialects import DIALECTS
from benchmarks.order import Order
from benchmarks.stream import unchunked
from benchmarks.systems.base import fetch_order

if TYPE_CHECKING:
    from benchmarks.systems.base import Running

_STREAM = Order(deltas=300, gap_us=1000)
_BURST = Order(deltas=3000)
_MESSAGE = Order(stream=0)


def check(running: Running) -> str:
    """``equal``, or in what way the answers differ: a system that changes bytes is measured, and the report says so.

    Raises:
        OSError: no whole answer came.
    """
    dialect = DIALECTS[running.target.dialect]
    answers = dialect.answers
    for order in (_STREAM, _BURST):
        status, body = fetch_order(running.target, order)
        if status != 200:
            return f"a stream was answered with {status}"
        content, expected = unchunked(body), answers.stream(order)
        if content != expected:
            events, sent = content.count(dialect.mark), expected.count(dialect.mark)
            return f"stream differs: {events} events of {sent}, {len(content)} bytes of {len(expected)}"
    status, body = fetch_order(running.target, _MESSAGE)
    if status != 200:
        return f"a message was answered with {status}"
    return "equal" if body == answers.whole(_MESSAGE) else "streams equal, whole messages re-written"
