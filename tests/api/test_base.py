"""What providers share: looking a header up, and whether an answer is a stream that can be spoken into."""

from __future__ import annotations

import pytest

from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.http import ResponseHead, header, is_event_stream
from relay_trio.vendors.registry import DIALECTS, PROVIDERS, provider_named


def test_the_first_of_several_values_counts() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert header(headers, b"b") == b"2"


def test_a_header_that_is_not_there_is_none_and_an_empty_one_is_empty() -> None:
    assert header([], b"a") is None
    assert header([(b"a", b"")], b"a") == b""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"content-type", b"text/event-stream")], True),
        ([(b"content-type", b"text/event-stream; charset=utf-8")], True),
        ([(b"content-type", b"Text/Event-Stream")], True),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"identity")], True),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")], True),
        ([(b"content-type", b"application/json")], False),
        ([], False),
    ],
)
def test_an_event_stream_is_known_by_its_content_type(headers: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert is_event_stream(ResponseHead(200, headers)) is expected


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_is_one(name: str) -> None:
    """What the protocol asks for is there; a missing method would be found only by its first request."""
    provider = provider_named(name)
    for method in (
        "describe_credential",
        "static_credential",
        "resolve_credential",
        "judge",
        "probe_request",
        "judge_probe",
        "request_id",
    ):
        assert callable(getattr(provider, method))
    for call in provider.calls.values():
        for method in ("request", "client_headers", "answer", "error"):
            assert callable(getattr(call, method))
    assert provider.default_base_url.startswith("https://")

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
