"""What clients of the Messages API can request, as both generations of them call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.operation import Affinity, Operation, Reading, checked_model, one_or_all
from relay_trio.errors import BadRequest
from relay_trio.vendors.claude.model_list import listing_of

if TYPE_CHECKING:
    from relay_trio.api.operation import Parameters
    from relay_trio.http import ClientHead


def model_of_body(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    """A request that names its model in its body, and says there whether it is for a stream.

    Raises:
        BadRequest: it does not, or not with values of the right type.
    """
    model, stream = document.get("model"), document.get("stream")
    if model is None:
        raise BadRequest("model: this member is required")
    model = checked_model(model)
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("stream: must be true or false")
    return Reading(model, stream is True, document)


MESSAGES = Operation("claude.messages", (("POST", "/v1/messages"),), model_of_body, is_json=True)
COUNT_TOKENS = Operation("claude.count_tokens", (("POST", "/v1/messages/count_tokens"),), model_of_body, is_json=True)
MODELS = Operation(
    "claude.models",
    (("GET", "/v1/models"), ("GET", "/v1/models/{model...}")),
    one_or_all,
    lists=listing_of(MESSAGES.name),
)
BATCHES = Operation(
    "claude.batches",
    (
        ("POST", "/v1/messages/batches"),
        ("GET", "/v1/messages/batches"),
        ("GET", "/v1/messages/batches/{id}"),
        ("DELETE", "/v1/messages/batches/{id}"),
        ("POST", "/v1/messages/batches/{id}/cancel"),
        ("GET", "/v1/messages/batches/{id}/results"),
    ),
    affinity=Affinity.PINNED,
)

OPERATIONS: tuple[Operation, ...] = (MESSAGES, COUNT_TOKENS, MODELS, BATCHES)
