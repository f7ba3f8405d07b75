"""What the web side hands to the pump, and what it gets back: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.api.dialect import Dialect
    from relay_trio.api.operation import Operation, Parameters
    from relay_trio.http import Headers
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.relay.presence import ClientPresence


class BodySource(Protocol):
    """Where a request's body comes from."""

    declared_bytes: int | None
    """``content-length``, if there was one."""

    is_complete: bool
    """Whether the last byte has arrived."""

    async def receive_some(self) -> bytes:
        """The next bytes, ``b""`` at the end. Cancelled here: safe to retry."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An authenticated request whose body has not been read yet.

    ``parameters`` are those of its path. With a ``body_check`` it is authenticated once that has seen the body.
    """

    request_id: str
    dialect: Dialect
    operation: Operation
    parameters: Parameters
    key: ClientKey
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: BodySource
    presence: ClientPresence
    client_request_id: str = ""
    body_check: BodyCheck | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of the answer, known once the first body byte is there. ``row`` tells how it came about so far."""

    status: int
    headers: Headers
    row: LedgerRow
