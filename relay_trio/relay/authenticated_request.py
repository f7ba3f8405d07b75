"""What the web side gives the pump: a client's request, whose it is, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.api.authenticator import BodyCheck
    from relay_trio.api.dialect import Dialect
    from relay_trio.api.operation import Operation, Parameters
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.server.client_request import ClientRequest


@dataclass(frozen=True, slots=True)
class AuthenticatedRequest:
    """A client's request whose body has not been read yet.

    ``query`` is what an upstream may see of the query; ``parameters`` are those of the path. With a ``body_check`` the
    request is authentic only once that has seen the body.
    """

    client_request: ClientRequest
    dialect: Dialect
    operation: Operation
    parameters: Parameters
    key: ClientKey
    query: bytes
    body_check: BodyCheck | None = None
