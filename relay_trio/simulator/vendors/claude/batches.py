"""Message batches: as much of the API as shows that a route passes it through. Done after a set time, in memory."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.ids import new_id
from relay_trio.simulator.vendors.claude import events
from relay_trio.simulator.vendors.claude.requests import Invalid, check_message, compose
from relay_trio.simulator.vendors.claude.tokens import InputTokens, count_tokens

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan


@dataclass(slots=True)
class Batch:
    """One batch; ``ends_at`` and ``created_at`` on the monotonic and the wall clock."""

    id: str
    requests: list[dict[str, Any]]
    created_at: datetime
    ends_at: float
    cancelled_at: datetime | None = None

    @property
    def is_ended(self) -> bool:
        return time.monotonic() >= self.ends_at

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        count, is_ended = len(self.requests), self.is_ended
        word = "canceled" if self.cancelled_at else "succeeded"
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts[word if is_ended else "processing"] = count
        ended = self.created_at.isoformat() if is_ended else None
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if is_ended else "canceling" if self.cancelled_at else "in_progress",
            "request_counts": counts,
            "created_at": self.created_at.isoformat(),
            "expires_at": (self.created_at + timedelta(days=1)).isoformat(),
            "ended_at": ended,
            "archived_at": None,
            "cancel_initiated_at": self.cancelled_at.isoformat() if self.cancelled_at else None,
            "results_url": f"/v1/messages/batches/{self.id}/results" if is_ended else None,
        }


class Batches:
    """Every batch created, newest first in the list."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._batches: dict[str, Batch] = {}

    def create(self, document: dict[str, Any] | None) -> dict[str, Any]:
        """Take a batch in; each of its requests must be one that ``/v1/messages`` would take."""
        requests = (document or {}).get("requests")
        if not isinstance(requests, list) or not requests:
            raise Invalid("requests: Field required")
        for item in requests:
            if not isinstance(item, dict) or not isinstance(item.get("custom_id"), str):
                raise Invalid("requests.custom_id: Field required")
            check_message(item.get("params"))
        batch = Batch(new_id("msgbatch"), requests, datetime.now(UTC), time.monotonic() + self._seconds)
        self._batches[batch.id] = batch
        return batch.document()

    def get(self, batch_id: str) -> dict[str, Any]:
        return self._find(batch_id).document()

    def list(self) -> dict[str, Any]:
        data = [batch.document() for batch in reversed(self._batches.values())]
        return {
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }

    def cancel(self, batch_id: str) -> dict[str, Any]:
        batch = self._find(batch_id)
        if not batch.is_ended and batch.cancelled_at is None:
            batch.cancelled_at = datetime.now(UTC)
        return batch.document()

    def delete(self, batch_id: str) -> dict[str, Any]:
        if not self._find(batch_id).is_ended:
            raise Invalid("Message Batch is still processing")
        del self._batches[batch_id]
        return {"id": batch_id, "type": "message_batch_deleted"}

    def results(self, batch_id: str, plan: Plan) -> bytes:
        """One JSON line for each request."""
        batch = self._find(batch_id)
        if not batch.is_ended:
            raise Invalid("Message Batch has no available results")
        return b"".join(_result_line(batch, item, plan) for item in batch.requests)

    def _find(self, batch_id: str) -> Batch:
        if batch_id not in self._batches:
            raise Invalid(f"message batch: {batch_id}", status=404)
        return self._batches[batch_id]


def _result_line(batch: Batch, item: dict[str, Any], plan: Plan) -> bytes:
    result: dict[str, Any] = {"type": "canceled"}
    if batch.cancelled_at is None:
        params = item["params"]
        made = compose(params, plan, InputTokens(count_tokens(params), 0, 0))
        message = events.whole_message(new_id("msg"), params["model"], made, plan)
        result = {"type": "succeeded", "message": json.loads(message)}
    return json.dumps({"custom_id": item["custom_id"], "result": result}).encode() + b"\n"
