"""What a family of clients speaks: what it can request, where its secrets stand, and how it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.authenticator import Authenticator
    from relay_trio.api.operation import Operation, Parameters
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import ClientHead, Headers, ResponseHead
    from relay_trio.settings.account import AccountSettings

    ErrorAnswer = tuple[int, Headers, bytes]
    """Status, headers and body of an answer that is an error. The length is not among the headers."""


class Dialect(Protocol):
    """What one family of clients speaks. Plain functions over bytes, without I/O."""

    name: str

    operations: tuple[Operation, ...]
    """What its clients can request, with the routes of each."""

    id_headers: tuple[bytes, ...]
    """Header fields where they look for a request's id, beside ``request-id``."""

    path_hint: str
    """A sentence about its paths, for a client that used one which is no route; may be empty."""

    # --- the request --------------------------------------------------------------------------------------------------

    def claims(self, head: ClientHead) -> bool:
        """Whether a request is of this dialect. The dialects are tried where no route decides, or more than one has
        the path; that of the registry's first vendor comes last, and claims everything."""

    def check_path(self, parameters: Parameters) -> None:
        """Raise NotFound if a parameter, which is forwarded as it came, could lead an upstream to another resource."""

    def forwarded_query(self, query: bytes) -> bytes:
        """``query`` as it may be known and forwarded: without a secret.

        Raises:
            BadRequest: it requests what is not relayed.
        """

    def secrets_in(self, head: ClientHead) -> list[str]:
        """Every secret of a request, in the order in which they are tried. A client that has several configured sends
        all of them, and any may be the relay's."""

    secret_places: str
    """Where a client puts its secret, for a client that sent none: ``x-api-key or as Authorization: Bearer``."""

    authenticator: Authenticator | None
    """How clients authenticate that sign their requests; None where no client does."""

    def client_lines(self, url: str, secret: str, accounts: Sequence[AccountSettings]) -> Sequence[str]:
        """What a client on a shell is configured with to send ``secret`` to the relay at ``url``, and to be served by
        ``accounts``, which may be none yet."""

    # --- errors -------------------------------------------------------------------------------------------------------

    def error_response(self, error: RelayError, request_id: str) -> ErrorAnswer:
        """The answer to a request that failed before the first byte."""

    def status_of(self, error: RelayError) -> int:
        """The status alone."""

    def passed_on(self, error: RelayError, head: ResponseHead, body: bytes, request_id: str) -> ErrorAnswer:
        """The upstream's own error answer as the client may see it: with our request id, without the upstream's.

        ``head`` has only headers that the client may see. ``body`` is as it came, and may be cut; one that is no error
        of the dialect is replaced by ours for ``error``.
        """

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """The last bytes of an answer that failed after its head; empty where ``position`` has no place for an
        error."""
