"""The simulator's own routes, for a simulator in another process: ``GET /sim/truth``, ``POST /sim/reset``.

Sums over all records since the last reset, and one line for each client that left in mid-answer: monotonic time,
the request's tag and id, so that whoever hung up knows how long it took until it was seen here.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.script import whole

if TYPE_CHECKING:
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.script import Script
    from relay_trio.simulator.truth import Truth

_PREFIX = b"/sim/"
_DEPARTURES = 20_000
"""How many departures are listed, the newest."""


def serves(request: Request) -> bool:
    """Whether ``request`` is for these routes: it is then no part of the truth."""
    return request.path.startswith(_PREFIX)


def answer(request: Request, truth: Truth, *, live_requests: int, open_connections: int) -> Script:
    """The answer to a request that is for these routes; the numbers are those without it."""
    match request.method, request.path:
        case "GET", b"/sim/truth":
            return _json(200, totals(truth, live_requests=live_requests, open_connections=open_connections))
        case "POST", b"/sim/reset":
            truth.clear()
            return _json(200, {"reset": True})
    return _json(404, {"error": "the simulator has GET /sim/truth and POST /sim/reset"})


def totals(truth: Truth, *, live_requests: int, open_connections: int) -> dict[str, Any]:
    """The truth in sums, without credentials; the request that asks counts as a connection only."""
    records = truth.records
    usage = truth.usage()
    departures = [
        {"at": record.client_closed_at, "tag": record.tag, "request_id": record.request_id}
        for record in records
        if record.client_closed_at is not None
    ]
    return {
        "requests": len(records),
        "live_requests": live_requests,
        "open_connections": open_connections,
        "connections_accepted": truth.connections_accepted,
        "finished": sum(record.is_finished for record in records),
        "cut_by_client": sum(record.closed_by == "client" and not record.is_finished for record in records),
        "statuses": Counter(str(record.status) for record in records),
        "faults": Counter(record.fault for record in records if record.fault),
        "tokens_generated": sum(record.tokens_generated for record in records),
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_creation_tokens": usage.cache_creation_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "total_tokens": usage.total_tokens,
        },
        "departures": departures[-_DEPARTURES:],
    }


def _json(status: int, document: object) -> Script:
    return whole(status, [(b"content-type", b"application/json")], json.dumps(document).encode())
