"""What the web side hands to the pump, and what it gets back: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.api.dialect import Dialect
    from relay_trio.api.operation import Operation, Parameters
    from relay_trio.http import Headers
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.server.client_request import ClientRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """An authenticated request whose body has not been read yet.

    ``query`` is what an upstream may see of the query; ``parameters`` are those of the path. With a ``body_check`` it
    is authenticated once that has seen the body.
    """

    request: ClientRequest
    dialect: Dialect
    operation: Operation
    parameters: Parameters
    key: ClientKey
    query: bytes
    body_check: BodyCheck | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of the answer, known once the first body byte is there. ``row`` tells how it came about so far."""

    status: int
    headers: Headers
    row: LedgerRow
