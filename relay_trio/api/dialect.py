"""What a family of clients speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from relay_trio.api.position import Position
    from relay_trio.errors import RelayError
    from relay_trio.http import Headers


class Dialect(Protocol):
    """How one family of clients is told about errors."""

    name: str

    def error_response(self, error: RelayError, request_id: str) -> tuple[int, Headers, bytes]:
        """Status, headers and body for an error before the first byte."""

    def status_of(self, error: RelayError) -> int:
        """The status alone."""

    def upstream_error_body(self, body: bytes, error: RelayError, request_id: str) -> bytes:
        """The upstream's own error as the client may see it: with our request id, without the upstream's."""

    def closing_event(self, error: RelayError, request_id: str, position: Position) -> bytes:
        """The last bytes of an answer that failed after its head; empty where ``position`` has no place for an
        error."""
