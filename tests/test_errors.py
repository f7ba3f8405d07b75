"""The error tree: every leaf says whose fault it is, what the client gets, and what the ledger gets."""

from __future__ import annotations

import pytest
import trio

from relay_trio import errors
from relay_trio.errors import CapacityError, ClientError, ErrorKind, RelayError, UpstreamError, plain_name
from relay_trio.outcome import Phase, Who, Word
from relay_trio.vendors.claude.dialect import ClaudeDialect

TREE = [
    error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, RelayError)
]  # fmt: skip

EXPECTED = {
    "BadRequest": ("client", "bad_request", "rejected_request", "P"),
    "NotFound": ("client", "not_found", "rejected_request", "P"),
    "MethodNotAllowed": ("client", "method_not_allowed", "rejected_request", "P"),
    "BodyTooLarge": ("client", "too_large", "rejected_request", "P"),
    "UnsupportedEncoding": ("client", "unsupported_encoding", "rejected_request", "P"),
    "BodyTooSlow": ("client", "body_timeout", "client_timeout", "c"),
    "ClientStalled": ("client", "body_timeout", "client_timeout", "c"),
    "AuthenticationFailed": ("client", "authentication", "rejected_auth", "P"),
    "PermissionDenied": ("client", "permission", "rejected_auth", "P"),
    "QueueFull": ("relay", "overloaded", "rejected_capacity", "R"),
    "QueueTimeout": ("relay", "overloaded", "rejected_capacity", "R"),
    "NoUsableAccount": ("relay", "overloaded", "rejected_capacity", "R"),
    "NoAccountInRotation": ("relay", "overloaded", "rejected_capacity", "R"),
    "LedgerUnavailable": ("relay", "overloaded", "rejected_capacity", "R"),
    "ShuttingDown": ("relay", "overloaded", "shutdown", "K"),
    "UpstreamConnectError": ("upstream", "upstream_failed", "upstream_error", "S"),
    "UpstreamClosed": ("upstream", "upstream_failed", "upstream_error", "S"),
    "UpstreamProtocolError": ("upstream", "upstream_failed", "upstream_error", "S"),
    "UpstreamTruncated": ("upstream", "upstream_failed", "upstream_error", "S"),
    "UpstreamRefused": ("upstream", "permission", "upstream_error", "S"),
    "UpstreamRejected": ("upstream", "bad_request", "rejected_request", "S"),
    "UpstreamRateLimited": ("upstream", "overloaded", "upstream_rate_limited", "S"),
    "UpstreamErrorEvent": ("upstream", "upstream_failed", "upstream_error", "S"),
    "UpstreamTimeout": ("upstream", "upstream_timeout", "upstream_timeout", "s"),
    "UpstreamIdle": ("upstream", "upstream_timeout", "idle_timeout", "s"),
}
"""Fault, kind, word and who of every error that is raised; written out, because the tree inherits most of it."""


def fault_of(error: type[RelayError]) -> str:
    """The type says whose fault it is."""
    if issubclass(error, ClientError):
        return "client"
    return "upstream" if issubclass(error, UpstreamError) else "relay"


BASES = {RelayError, ClientError, CapacityError, UpstreamError}


def test_every_error_is_in_the_table() -> None:
    assert {error.__name__ for error in TREE} - {base.__name__ for base in BASES} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_whose_fault_and_what_is_told(name: str) -> None:
    error = getattr(errors, name)
    assert (fault_of(error), error.kind.value, error.word.value, error.who.value) == EXPECTED[name]


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_type_word_and_who_never_contradict_each_other(error: type[RelayError]) -> None:
    """The operator's word, the code's letter and the base class name the same party."""
    of = {
        "client": {Who.POLICY, Who.CLIENT_TIMEOUT},
        "upstream": {Who.UPSTREAM, Who.UPSTREAM_TIMEOUT},
        "relay": {Who.RELAY, Who.DRAIN, Who.INTERNAL},
    }
    assert error.who in of[fault_of(error)]
    assert error.word not in (Word.COMPLETED, Word.CLIENT_DISCONNECT, Word.WORKER_LOST)


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_the_outcome_keeps_the_phase_the_error_came_in(error: type[RelayError]) -> None:
    for phase in Phase:
        outcome = error("no").outcome_in(phase)
        assert (outcome.word, outcome.who, outcome.phase) == (error.word, error.who, phase)


def test_every_kind_has_a_status_in_the_dialect_that_fits_whose_fault_it_is() -> None:
    """4xx for what the client can change, and for what the upstream refused; 5xx for the rest."""
    dialect = ClaudeDialect()
    for error in TREE:
        status = dialect.status_of(error("no"))
        assert (400 <= status < 500) is issubclass(
            error, (ClientError, errors.UpstreamRefused, errors.UpstreamRejected)
        ), error
    assert {error.kind for error in TREE} | {ErrorKind.RATE_LIMIT} == set(ErrorKind)


def test_an_error_says_its_message_and_how_long_to_wait() -> None:
    error = errors.QueueTimeout("no slot came free", retry_after=1.5)
    assert (str(error), error.message, error.retry_after) == ("no slot came free", "no slot came free", 1.5)
    assert errors.QueueTimeout("no slot came free").retry_after is None


def test_a_cancellation_is_no_error_of_this_tree_nor_the_other_way_round() -> None:
    """``except RelayError`` cannot swallow a cancellation, whatever is added to the tree."""
    assert not issubclass(trio.Cancelled, RelayError)
    assert not any(issubclass(error, trio.Cancelled) for error in TREE)
    assert all(issubclass(error, Exception) for error in TREE)


def test_the_kind_of_an_error_of_a_library_has_a_plain_name() -> None:
    assert plain_name(ConnectionResetError()) == "connection reset error"
    assert plain_name(OSError()) == "oserror"
