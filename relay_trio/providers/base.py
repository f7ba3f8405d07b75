"""What a provider is: plain functions over bytes, no I/O.

A provider knows one upstream API: how a request for it is built, how its answers are metered and judged, and how its
dialect tells a client about an error. A new one is one file beside this one and one line in ``registry``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.chunks import UsageStats
    from relay_trio.config import AccountSettings
    from relay_trio.errors import RelayError, UpstreamError

Headers = list[tuple[bytes, bytes]]
"""Header fields in wire order; names in lower case."""


def header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of ``name`` (lower case), or None."""
    return next((value for key, value in headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A client's request after authentication and the structural checks.

    ``operation`` is the name of the route, which is what the request means: one path has many spellings. ``raw_path``
    and ``query`` are the bytes of the request line, escapes untouched.
    """

    operation: str
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: bytes
    model: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request as it goes on the wire.

    ``scheme`` is ``http`` or ``https``; ``target`` is path and query exactly as sent; ``headers`` lack ``host`` and
    ``content-length``, which the transport adds.
    """

    method: str
    scheme: str
    host: str
    port: int
    target: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an upstream's answer."""

    status: int
    headers: Headers


def is_event_stream(head: Head) -> bool:
    """Whether the body is server-sent events, readable as they are (not compressed)."""
    if header(head.headers, b"content-encoding") not in (None, b"identity"):
        return False
    return (header(head.headers, b"content-type") or b"").lower().startswith(b"text/event-stream")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an upstream's error status means for the request and for the account.

    ``retryable``: another account may do better. ``cooldown_seconds``: how long the account asked to be left alone.
    ``strike``: counts against the account's breaker. ``disable``: the account's credential is bad.
    ``is_passed_through``: the client may see the upstream's own body.
    """

    error: UpstreamError
    retryable: bool = False
    cooldown_seconds: float | None = None
    strike: bool = False
    disable: bool = False
    is_passed_through: bool = True


class Meter(Protocol):
    """Watches the bytes of one answer go by, without altering or delaying them. Never raises."""

    def feed(self, data: bytes) -> None:
        """Observe ``data``, the next bytes of the body, cut anywhere."""

    def finish(self) -> UsageStats:
        """The token record of what was seen so far; may be called at any time, whole or cut."""

    @property
    def is_complete(self) -> bool:
        """Whether the dialect's own last event was seen (for answers without one: always true)."""

    @property
    def is_mid_event(self) -> bool:
        """Whether the bytes so far end inside an event."""

    @property
    def error(self) -> UpstreamError | None:
        """The error that the upstream reported inside the stream, if any."""


class Dialect(Protocol):
    """How one family of clients is told about errors."""

    name: str

    def error_response(self, error: RelayError, request_id: str) -> tuple[int, Headers, bytes]:
        """Status, headers and body for an error before the first byte."""

    def status_of(self, error: RelayError) -> int:
        """The status alone."""

    def upstream_error_body(self, body: bytes, error: RelayError, request_id: str) -> bytes:
        """The upstream's own error as the client may see it: with our request id, without the upstream's."""

    def error_chunk(self, error: RelayError, request_id: str, *, is_mid_event: bool) -> bytes:
        """The last bytes of a stream that failed after its head."""


class Provider(Protocol):
    """One upstream API."""

    name: str
    default_base_url: str

    def build_request(self, account: AccountSettings, incoming: Incoming) -> UpstreamRequest:
        """The request for ``account``: its credential in, the client's out, everything else by allow-list."""

    def client_headers(self, head: Head) -> Headers:
        """The response headers a client may see."""

    def new_meter(self, head: Head, incoming: Incoming) -> Meter:
        """A meter for one answer."""

    def classify_error(self, head: Head, body: bytes, now: float) -> Verdict:
        """Judge an answer with a status of 300 or more. ``body`` may be cut; ``now`` is epoch seconds."""

    def probe_request(self, account: AccountSettings) -> UpstreamRequest:
        """A request that costs no tokens and shows whether the credential is accepted."""
