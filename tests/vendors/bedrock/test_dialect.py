"""Errors for clients of the Bedrock runtime, read back with AWS's own parsers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from botocore.eventstream import EventStreamBuffer

from relay_trio.api.position import WHOLE
from relay_trio.errors import (
    AuthenticationFailed,
    ErrorKind,
    QueueTimeout,
    RelayError,
    ShuttingDown,
    UpstreamIdle,
    UpstreamTruncated,
)
from relay_trio.http import ResponseHead
from relay_trio.vendors.bedrock.dialect import BedrockDialect
from relay_trio.vendors.bedrock.provider import exception_of
from relay_trio.vendors.bedrock.stream import ConverseStreamReader, InvokeStreamReader
from tests.support.bedrock_frames import CLAUDE
from tests.support.client_requests import client_head

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader

DIALECT = BedrockDialect()
CONVERSE_EXCEPTIONS = {
    "internalServerException",
    "modelStreamErrorException",
    "validationException",
    "throttlingException",
    "serviceUnavailableException",
}


class Ours(RelayError):
    """An error of any kind."""

    def __init__(self, kind: ErrorKind) -> None:
        super().__init__("what happened")
        self.kind = kind  # type: ignore[misc]


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_error_has_a_status_a_name_and_a_message(kind: ErrorKind) -> None:
    status, headers, body = DIALECT.error_response(Ours(kind), "req_1")
    assert status == DIALECT.status_of(Ours(kind))
    assert 400 <= status < 600
    assert exception_of(ResponseHead(status, headers)).endswith("Exception")
    assert json.loads(body) == {"message": "what happened"}


def test_a_wrong_key_is_403_as_aws_has_it() -> None:
    assert DIALECT.status_of(AuthenticationFailed("x")) == 403
    status, headers, _ = DIALECT.error_response(QueueTimeout("full", retry_after=0.2), "req_1")
    assert (status, dict(headers)[b"retry-after"]) == (503, b"1")


@pytest.mark.parametrize(("body", "is_theirs"), [(b'{"message":"theirs"}', True), (b"<html>", False), (b"", False)])
def test_the_upstreams_own_error_passes_as_it_came(body: bytes, is_theirs: bool) -> None:
    head = ResponseHead(400, [(b"x-amzn-errortype", b"ValidationException"), (b"content-type", b"text/html")])
    status, headers, sent = DIALECT.passed_on(Ours(ErrorKind.UPSTREAM_FAILED), head, body, "req_1")
    assert (status, sent) == (400, body if is_theirs else b'{"message":"what happened"}')
    assert headers == [(b"x-amzn-errortype", b"ValidationException"), (b"content-type", b"application/json")]


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("reader", [InvokeStreamReader(), ConverseStreamReader()])
def test_a_stream_that_fails_gets_an_exception_frame_that_its_operation_has(
    kind: ErrorKind, reader: AnswerReader
) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(DIALECT.closing_event(Ours(kind), "req_1", reader.position))
    [message] = list(buffer)
    assert message.headers[":message-type"] == "exception"
    known = CONVERSE_EXCEPTIONS | ({"modelTimeoutException"} if isinstance(reader, InvokeStreamReader) else set())
    assert message.headers[":exception-type"] in known
    assert json.loads(message.payload) == {"message": "what happened"}


@pytest.mark.parametrize(
    ("error", "invoke", "converse"),
    [
        (UpstreamIdle("x"), "modelTimeoutException", "modelStreamErrorException"),
        (UpstreamTruncated("x"), "modelStreamErrorException", "modelStreamErrorException"),
        (ShuttingDown("x"), "serviceUnavailableException", "serviceUnavailableException"),
    ],
)
def test_the_exception_says_what_happened(error: RelayError, invoke: str, converse: str) -> None:
    assert invoke.encode() in DIALECT.closing_event(error, "req_1", InvokeStreamReader().position)
    assert converse.encode() in DIALECT.closing_event(error, "req_1", ConverseStreamReader().position)


def test_inside_a_frame_or_a_document_there_is_no_place_for_an_error() -> None:
    reader = InvokeStreamReader()
    reader.feed(CLAUDE[0][:-1])
    assert DIALECT.closing_event(UpstreamIdle("x"), "req_1", reader.position) == b""
    reader.feed(CLAUDE[0][-1:])
    assert DIALECT.closing_event(UpstreamIdle("x"), "req_1", reader.position) != b""
    assert DIALECT.closing_event(UpstreamIdle("x"), "req_1", WHOLE) == b""


# --- what of a request is theirs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_theirs"),
    [(b"/model/", True), (b"/model/x/y/z", True), (b"/inference-profiles/x", True), (b"/models", False), (b"/", False)],
)
def test_it_is_known_by_its_paths(path: bytes, is_theirs: bool) -> None:
    assert DIALECT.claims(client_head("POST", path, b"", [])) is is_theirs


def test_path_and_query_are_not_looked_at() -> None:
    DIALECT.check_path({"model": "arn:aws:bedrock:x:1:inference-profile/m"})
    assert DIALECT.forwarded_query(b"maxResults=1&key=s&nextToken=%2B") == b"maxResults=1&nextToken=%2B"


def test_a_relay_key_may_stand_in_the_place_of_a_bedrock_api_key() -> None:
    """As ``Authorization: Bearer``; a client on plain http signs."""
    headers = [(b"authorization", b"Bearer b"), (b"x-api-key", b"a")]
    assert DIALECT.secrets_in(client_head("POST", b"/", b"", headers)) == ["b", "a"]
    assert DIALECT.authenticator is not None
    assert "AWS_BEARER_TOKEN_BEDROCK=rt_1" in "\n".join(DIALECT.client_lines("http://relay", "rt_1", ()))
