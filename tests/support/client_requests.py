"""Client requests without a server: real ones, over a stream whose client is the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.outcome import DisconnectReason
from relay_trio.server.client_request import ClientRequest
from relay_trio.server.request_head import RequestHead
from relay_trio.server.stream import ServerStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay_trio.http import Headers


class MemoryStream(ServerStream):
    """A stream that keeps what is sent on it, as ASGI messages: the head with the first part of the body.

    The test delivers the request's body (``deliver``) and loses the client (``lose``), as a connection does.
    """

    def __init__(self, *, has_body: bool = True, expects_continue: bool = False) -> None:
        super().__init__(expects_continue=expects_continue, has_body=has_body)
        self.sent: list[dict[str, Any]] = []
        self.continues = 0
        """How often the client was sent ``100 Continue``."""
        self.taken: list[int] = []
        """The sizes in which the body was taken, each of which makes room."""
        self._head: dict[str, Any] = {}

    def abort(self) -> None:
        self.lose(DisconnectReason.ABORTED)

    def _write_continue(self) -> None:
        self.continues += 1

    def _on_body_taken(self, count: int) -> None:
        self.taken.append(count)

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._head = {"type": "http.response.start", "status": status, "headers": list(headers)}

    async def _send_body(self, body: bytes, is_last: bool) -> None:
        self.keep(body, is_last)

    def keep(self, body: bytes, is_last: bool) -> None:
        """The client has this part."""
        if not self.has_begun:
            self.has_begun = True
            self.sent.append(self._head)
        self.sent.append({"type": "http.response.body", "body": body, "more_body": not is_last})
        self.is_complete = is_last


def never_now(body: bytes) -> None:
    """A ``send_nowait`` that leaves every chunk to the response channel."""


def client_head(method: str, raw_path: bytes, query: bytes, headers: Headers) -> ClientRequest:
    """A request of which only the head is looked at."""
    return make_request(method=method, raw_path=raw_path, query=query, headers=headers)


def make_request(
    *,
    method: str = "POST",
    raw_path: bytes = b"/v1/messages",
    query: bytes = b"",
    headers: Headers | None = None,
    declared_bytes: int | None = None,
    stream: ServerStream | None = None,
) -> ClientRequest:
    """A request as the server makes it. Without a ``stream``, its body is still to come."""
    head = RequestHead(method, raw_path, query, "1.1", headers or [], content_length=declared_bytes)
    return ClientRequest(head, "http", stream or MemoryStream())
