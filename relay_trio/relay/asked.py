"""What the web side hands to the pump, and what it gets back: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from relay_trio.api.dialect import Dialect
    from relay_trio.http import Headers
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.ledger.row import LedgerRow
    from relay_trio.relay.presence import ClientPresence
    from relay_trio.relay.read_request import BodySource


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a dialect.

    ``needs_model``: the body is JSON and names the model, and says whether to stream. ``model_in_path``: the path names
    it, the body is not looked at, and ``is_stream`` is the route's. ``is_pinned``: what it asks for lives in one
    account, so it always goes to the first that could have it, and nowhere else. ``is_json``: the body is looked at all
    the same, and must be one JSON object. ``lists``: the answer lists models, of which the client is shown those that
    it can use for the route of that name.
    """

    name: str
    dialect: Dialect
    needs_model: bool = False
    is_pinned: bool = False
    model_in_path: bool = False
    is_stream: bool = False
    is_json: bool = False
    lists: str | None = None


class BodyProof(Protocol):
    """What is left to prove of a request that was signed: its signature covers the body, which comes last."""

    def check(self, body: bytes) -> None:
        """Raise AuthenticationFailed unless the signature is that of this request with this body. It hashes all of it:
        2 ms per megabyte."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An authenticated request whose body has not been read yet.

    ``path_model`` is the model in the path, decoded. With a ``proof`` it is authenticated once that has seen the body.
    """

    request_id: str
    route: Route
    key: ClientKey
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: BodySource
    presence: ClientPresence
    client_request_id: str = ""
    path_model: str | None = None
    proof: BodyProof | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of the answer, known once the first body byte is there. ``row`` tells how it came about so far."""

    status: int
    headers: Headers
    row: LedgerRow
