"""What a provider is: plain functions over bytes, no I/O.

A provider knows one upstream API: how a request for it is built, how its answers are metered and judged, and how its
dialect tells a client about an error. A new one is one file beside this one and one line in ``registry``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    and ``query`` are the bytes of the request line, escapes untouched. Of an answer that lists models, only those that
    ``is_listed`` are for the client.
    """

    operation: str
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: bytes
    model: str | None = None
    stream: bool = False
    is_listed: Callable[[str], bool] | None = None


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
    """Whether the body is server-sent events."""
    return (header(head.headers, b"content-type") or b"").lower().startswith(b"text/event-stream")


class Form(Enum):
    """What a client's answer is made of, which decides whether an error can still be told inside it."""

    WHOLE = auto()  # one document, or something compressed: nothing can be added
    EVENTS = auto()  # server-sent events
    ARRAY = auto()  # one JSON array, element by element
    FRAMES = auto()  # an AWS event stream


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an upstream's error status means for the request and for the account.

    ``retryable``: another account may do better. ``cooldown_seconds``: how long the account asked to be left alone.
    ``strike``: counts against the account's breaker. ``disable``: the account's credential is bad;
    one that can be resolved again is.
    ``is_passed_through``: the client may see the upstream's own body. ``told``: status and body that it is told instead
    of the upstream's, where its dialect is another.
    """

    error: UpstreamError
    retryable: bool = False
    cooldown_seconds: float | None = None
    strike: bool = False
    disable: bool = False
    is_passed_through: bool = True
    told: tuple[int, bytes] | None = None

    def told_as(self, status: int, body: bytes) -> Verdict:
        """The same verdict, told in the client's dialect."""
        return replace(self, told=(status, body))


@dataclass(frozen=True, slots=True)
class Credential:
    """What an account proves itself with: a text, or an object that only its provider knows; good until ``expires_at``
    (epoch seconds)."""

    value: Any
    expires_at: float = math.inf

    def __repr__(self) -> str:
        return f"Credential(expires_at={self.expires_at})"


class Meter(Protocol):
    """Reads one answer as it goes by. Never raises, never delays.

    Where client and upstream speak the same dialect it alters nothing; where they do not, it translates.
    """

    form: Form
    """What the client is sent."""

    tells_its_error: bool
    """Whether ``error`` is in the bytes that the client is sent; otherwise the dialect has to tell it."""

    def feed(self, data: bytes) -> bytes:
        """What the client is to be sent for ``data``, the next bytes of the body, cut anywhere: ``data`` itself, or its
        translation, which may be empty until more has come."""

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

    def error_chunk(self, error: RelayError, request_id: str, meter: Meter) -> bytes:
        """The last bytes of an answer that failed after its head; empty where its form leaves no place for an error."""


class Provider(Protocol):
    """One upstream API."""

    name: str
    default_base_url: str

    operations: frozenset[str]
    """What its accounts can be asked for: names of routes, of its own dialect and of those that it translates."""

    hashes_bodies: bool
    """``build_request`` goes through the whole body, so a large one is built in a thread."""

    key_refusals: frozenset[int]
    """Statuses by which the probe is told that the credential is not accepted."""

    def static_credential(self, account: AccountSettings) -> Credential | None:
        """The account's credential when it stands in the configuration, which never changes; None: ``resolve``."""

    def resolve_credential(self, account: AccountSettings) -> Credential:
        """The account's credential of now. It may read files, run a program or ask a service: called in a thread.

        Raises:
            UpstreamRefused: it cannot be had, without a word of what it is.
        """

    def build_request(self, account: AccountSettings, incoming: Incoming, credential: Credential) -> UpstreamRequest:
        """The request for ``account``: its credential in, the client's out, everything else by allow-list."""

    def client_headers(self, head: Head, incoming: Incoming) -> Headers:
        """The response headers a client may see."""

    def new_meter(self, head: Head, incoming: Incoming) -> Meter:
        """A meter for one answer."""

    def classify_error(self, head: Head, body: bytes, incoming: Incoming, now: float) -> Verdict:
        """Judge an answer with a status of 300 or more. ``body`` may be cut; ``now`` is epoch seconds."""

    def probe_request(self, account: AccountSettings, credential: Credential) -> UpstreamRequest:
        """A request that costs no tokens and shows whether the credential is accepted."""

    def accepts_probe(self, head: Head) -> bool:
        """Whether this answer to the probe shows that it is."""
