"""Who ended a request, and in which phase: the closed vocabulary of the ledger, the log and the metrics.

The *word* says to an operator what to do about it; the two-letter *code* (HAProxy's idea) says who ended the request
and how far it had come. Neither determines the other, so both are stored. Nothing here knows about trio or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Who(StrEnum):
    """First letter of the code: who ended the request."""

    DONE = "-"
    CLIENT = "C"
    CLIENT_TIMEOUT = "c"
    UPSTREAM = "S"
    UPSTREAM_TIMEOUT = "s"
    POLICY = "P"
    RELAY = "R"
    INTERNAL = "I"
    DRAIN = "K"
    WORKER = "W"


class Phase(StrEnum):
    """Second letter of the code: how far the request had come."""

    DONE = "-"
    READING = "R"  # the request is being read and checked
    QUEUED = "Q"  # waits for a slot
    CONNECTING = "C"  # DNS, TCP, TLS towards the upstream
    HEAD = "H"  # request sent, waiting for the first byte of the answer
    DATA = "D"  # body bytes are flowing
    FLUSH = "L"  # the upstream is done and its slot is free; the client still has bytes to take


class Word(StrEnum):
    """What to do about it."""

    COMPLETED = "completed"
    CLIENT_DISCONNECT = "client_disconnect"
    CLIENT_TIMEOUT = "client_timeout"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    REJECTED_REQUEST = "rejected_request"
    REJECTED_AUTH = "rejected_auth"
    REJECTED_CAPACITY = "rejected_capacity"
    SHUTDOWN = "shutdown"
    WORKER_LOST = "worker_lost"
    INTERNAL = "internal"


class DisconnectReason(StrEnum):
    """Why a client is no longer connected to its request."""

    LEFT = "left"  # FIN, RST, half-close, RST_STREAM
    STALLED = "stalled"  # took no byte for the write timeout
    BODY_TIMEOUT = "body_timeout"  # its request body stopped arriving
    MISBEHAVED = "misbehaved"  # broke the protocol, or a limit
    ABORTED = "aborted"  # the relay cut the response on purpose

    @property
    def is_timeout(self) -> bool:
        """Whether the client did not leave, but was cut because it stopped reading or sending."""
        return self in (DisconnectReason.STALLED, DisconnectReason.BODY_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    ``code`` is the two-letter form, ``"--"`` for a completed request.
    """

    word: Word
    who: Who
    phase: Phase

    @property
    def code(self) -> str:
        return f"{self.who.value}{self.phase.value}"


COMPLETED = Outcome(Word.COMPLETED, Who.DONE, Phase.DONE)


def ended_by_client(phase: Phase) -> Outcome:
    """The client hung up in ``phase``."""
    return Outcome(Word.CLIENT_DISCONNECT, Who.CLIENT, phase)


def ended_by_shutdown(phase: Phase) -> Outcome:
    """The relay was stopped while the request was in ``phase``."""
    return Outcome(Word.SHUTDOWN, Who.DRAIN, phase)


def ended_by_defect(phase: Phase) -> Outcome:
    """An error of the relay itself; an alarm on more than none of these is right."""
    return Outcome(Word.INTERNAL, Who.INTERNAL, phase)
