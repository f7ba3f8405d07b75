"""What the simulator really served: the record that relays, ledgers and SDKs are compared with.

A record is opened when a request has arrived whole and closed when its answer ended, in whatever way. Times are
``time.monotonic()``, one clock for all processes of a machine. Nothing is ever forgotten but by ``clear``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from relay_trio.simulator.script import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.simulator.script import Headers

NO_USAGE = Usage()


@dataclass(slots=True, eq=False)
class ServedRequest:
    """One request and what became of it.

    ``credential`` is the API key as presented, or the id of the access key that signed; kept out of ``repr``. ``usage``
    is what a fold of the bytes handed to the kernel gives, None before the first usage-bearing byte. ``is_finished``:
    the dialect's terminal event, or the whole body of an answer that is not a stream, was handed to the kernel.
    ``tokens_generated`` counts what was paced out, sent or not: after a disconnect, the waste. ``status`` is None until
    the head was sent. ``sent_bytes``: those after the head, chunk framing included. ``closed_by``: who ended the
    connection with this request, None when it lives on. ``client_closed_at``: when the client's FIN or RST was seen, if
    it came while the request was live.
    """

    request_id: str
    method: str
    target: bytes
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    opened_at: float
    connection_id: int
    credential: str | None = field(default=None, repr=False)
    model: str = ""
    tag: str = ""
    is_stream: bool = False
    fault: str = ""
    status: int | None = None
    usage: Usage | None = None
    is_finished: bool = False
    tokens_generated: int = 0
    sent_bytes: int = 0
    head_sent_at: float | None = None
    closed_at: float | None = None
    closed_by: Literal["client", "simulator"] | None = None
    client_closed_at: float | None = None

    @property
    def input_tokens(self) -> int:
        return (self.usage or NO_USAGE).input_tokens

    @property
    def output_tokens(self) -> int:
        return (self.usage or NO_USAGE).output_tokens

    @property
    def cache_creation_tokens(self) -> int:
        return (self.usage or NO_USAGE).cache_creation_tokens

    @property
    def cache_read_tokens(self) -> int:
        return (self.usage or NO_USAGE).cache_read_tokens

    @property
    def is_live(self) -> bool:
        return self.closed_at is None

    def header(self, name: bytes) -> bytes | None:
        """The first value of the received header ``name`` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class Truth:
    """Every request served since the start or the last ``clear``, in order of arrival."""

    records: list[ServedRequest] = field(default_factory=list)
    connections_accepted: int = 0

    def clear(self) -> None:
        """Forget all records; those of live requests go on unlisted."""
        self.records.clear()
        self.connections_accepted = 0

    @property
    def last(self) -> ServedRequest:
        """The request that arrived last."""
        return self.records[-1]

    def by_id(self, request_id: str) -> ServedRequest:
        """The record that was answered with ``request_id`` in its request id header; KeyError when there is none."""
        for record in reversed(self.records):
            if record.request_id == request_id:
                return record
        raise KeyError(request_id)

    def tagged(self, tag: str) -> list[ServedRequest]:
        """The records of requests whose spec had ``tag=...``."""
        return [record for record in self.records if record.tag == tag]

    def usage(self, records: Sequence[ServedRequest] | None = None) -> Usage:
        """The tokens of ``records`` (default: all) together."""
        counted = [r.usage for r in (self.records if records is None else records) if r.usage is not None]
        return Usage(
            sum(usage.input_tokens for usage in counted),
            sum(usage.output_tokens for usage in counted),
            sum(usage.cache_creation_tokens for usage in counted),
            sum(usage.cache_read_tokens for usage in counted),
        )
