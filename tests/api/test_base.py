"""What the protocols of providers and dialects ask for is there."""

from __future__ import annotations

import pytest

from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.http import ResponseHead
from relay_trio.vendors.registry import DIALECTS, PROVIDERS, provider_named


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_is_one(name: str) -> None:
    """What the protocol asks for is there; a missing method would be found only by its first request."""
    provider = provider_named(name)
    for method in (
        "describe_credential",
        "credential",
        "judge",
        "probe_request",
        "judge_probe",
        "request_id",
    ):
        assert callable(getattr(provider, method))
    for call in provider.calls.values():
        for method in ("request", "client_headers", "answer", "error"):
            assert callable(getattr(call, method))

    assert provider.calls
    assert provider.judge_probe(ResponseHead(401, [])) is ProbeAnswer.REFUSED


def test_every_dialect_is_one() -> None:
    for dialect in DIALECTS:
        for method in (
            *("claims", "check_path", "forwarded_query", "secrets_in", "client_lines"),
            *("error_response", "status_of", "passed_on", "closing_event"),
        ):
            assert callable(getattr(dialect, method))
        assert all(name == name.lower() for name in dialect.id_headers)
        assert dialect.secret_places


def test_operations_of_all_dialects_have_names_of_their_own() -> None:
    names = [operation.name for dialect in DIALECTS for operation in dialect.operations]
    assert len(set(names)) == len(names)
    assert all(operation.lists in {None, *names} for dialect in DIALECTS for operation in dialect.operations)


def test_what_a_provider_serves_is_an_operation_that_some_client_can_ask_for() -> None:
    names = {operation.name for dialect in DIALECTS for operation in dialect.operations}
    for provider in PROVIDERS.values():
        assert provider.calls.keys() <= names
