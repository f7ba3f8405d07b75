"""``/healthz`` and ``/readyz``, on both listeners."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from quart import Response

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from relay_trio.relay.core import Relay


def unready_reason(core: Relay) -> str | None:
    """Why the relay should get no new work, in one closed vocabulary; None when it should."""
    if core.live.is_stopping:
        return "draining"
    if not core.pool.can_ever_serve():
        return "no_usable_account"
    if not core.live.ledger_statistics().is_accepting:
        return "ledger_full"
    return None


def add_health(app: QuartTrio, core: Relay) -> None:
    """Register both routes."""

    @app.route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> Response:
        return as_json({"status": "ok"})

    @app.route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> Response:
        reason = unready_reason(core)
        if reason is None:
            return as_json({"status": "ready"})
        return as_json({"status": "unready", "reason": reason}, status=503)


def as_json(content: object, status: int = 200) -> Response:
    """A JSON response."""
    return Response(json.dumps(content, indent=2) + "\n", status=status, content_type="application/json")
