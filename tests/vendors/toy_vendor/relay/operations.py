"""What clients of the toy can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.api.operation import Operation, Reading, checked_model

if TYPE_CHECKING:
    from relay_trio.api.operation import Parameters
    from relay_trio.http import ClientHead


def _read(head: ClientHead, parameters: Parameters, document: dict[str, Any]) -> Reading:
    return Reading(checked_model(document.get("model")), document.get("stream") is True, document)


SPEAK = Operation("toy.speak", (("POST", "/toy/speak"), ("POST", "/toy/{voice}/speak")), _read, is_json=True)

OPERATIONS: tuple[Operation, ...] = (SPEAK,)
