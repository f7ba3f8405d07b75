"""Before anything is measured: does what arrives equal what was sent, and is a request's answer an answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.order import Order, whole_message, whole_stream
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
    for order in (_STREAM, _BURST):
        status, body = fetch_order(running.target, order)
        if status != 200:
            return f"a stream was answered with {status}"
        content = unchunked(body)
        if content != whole_stream(order):
            return f"stream differs: {content.count(b'data: ')} events of {order.events}, {len(content)} bytes"
    status, body = fetch_order(running.target, _MESSAGE)
    if status != 200:
        return f"a message was answered with {status}"
    return "equal" if body == whole_message(_MESSAGE) else "streams equal, whole messages re-written"
