"""How clients of the Messages API are answered, and what of a request is theirs."""

from __future__ import annotations

import gzip
import json

import pytest

from relay_trio.api.position import WHOLE, Form, Position
from relay_trio.errors import ErrorKind, NotFound, NoUsableAccount, UpstreamError
from relay_trio.http import ResponseHead
from relay_trio.vendors.claude.dialect import ClaudeDialect
from tests.support.client_requests import client_head
from tests.support.sse import sse_events

DIALECT = ClaudeDialect()
BROKE = UpstreamError("it broke")
BAD = ResponseHead(400, [(b"content-type", b"application/json"), (b"content-length", b"3"), (b"x-should-retry", b"1")])


def test_every_kind_of_error_has_a_status_and_an_envelope() -> None:
    for kind in ErrorKind:
        error = type("E", (NoUsableAccount,), {"kind": kind})("why", retry_after=3600.2)
        status, headers, body = DIALECT.error_response(error, "req_1")
        assert 400 <= status < 600
        assert status == DIALECT.status_of(error)
        assert dict(headers)[b"retry-after"] == b"3601"
        assert dict(headers)[b"x-should-retry"] == b"false"
        envelope = json.loads(body)
        assert envelope["error"]["message"] == "why"
        assert envelope["request_id"] == "req_1"


@pytest.mark.parametrize("is_compressed", [False, True])
def test_the_upstreams_error_is_passed_on_with_our_request_id(is_compressed: bool) -> None:
    theirs = json.dumps(
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "req_theirs"}
    ).encode()
    head = ResponseHead(400, [*BAD.headers, (b"content-encoding", b"gzip")]) if is_compressed else BAD
    body = gzip.compress(theirs) if is_compressed else theirs
    status, headers, sent = DIALECT.passed_on(BROKE, head, body, "req_ours")
    assert status == 400
    assert dict(headers) == {b"content-type": b"application/json", b"x-should-retry": b"1"}
    envelope = json.loads(sent)
    assert envelope["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert envelope["request_id"] == "req_ours"


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"error": 1}', b"[" * 5000, b"\xff"])
def test_an_upstream_error_that_is_no_envelope_becomes_ours(body: bytes) -> None:
    _, _, sent = DIALECT.passed_on(UpstreamError("it failed"), BAD, body, "req_ours")
    assert json.loads(sent)["error"] == {"type": "api_error", "message": "it failed"}


def test_a_whole_or_compressed_answer_has_no_place_for_an_error() -> None:
    """Plain text appended to a gzip body would be read as damage, not as an error event."""
    assert DIALECT.closing_event(BROKE, "req_1", WHOLE) == b""


def test_an_error_in_the_middle_of_an_event_turns_that_event_into_the_error() -> None:
    cut = b'event: content_block_delta\ndata: {"type":"content_bl'
    chunk = DIALECT.closing_event(BROKE, "req_1", Position(Form.EVENTS, is_mid_event=True))
    (event,) = sse_events(cut + chunk)
    assert event.event == "error"
    assert "it broke" in event.data


# --- what of a request is theirs ----------------------------------------------------------------------------------


def test_it_is_whoever_no_other_dialect_claims() -> None:
    assert DIALECT.claims(client_head("GET", b"/", b"", []))


@pytest.mark.parametrize("name", ["id", "model"])
@pytest.mark.parametrize("value", ["..", ".", "../files", "a/../b", "..\\files", "a/."])
def test_an_id_that_leads_elsewhere_is_no_route(name: str, value: str) -> None:
    """The account's credential would go there."""
    with pytest.raises(NotFound):
        DIALECT.check_path({name: value})


@pytest.mark.parametrize("value", ["a/b", "/a", "a\\b", "a%2fb", "a?b", "a#b", "a\0", "a\n", "a b"])
def test_an_id_holds_nothing_that_an_upstream_could_cut_a_path_at(value: str) -> None:
    """Each can stand in a request line as an escape."""
    with pytest.raises(NotFound):
        DIALECT.check_path({"id": value})


@pytest.mark.parametrize("value", ["a", "a.b", "...", "msgbatch_01:x@y", "\xe4"])
def test_any_other_id_is_for_the_upstream_to_judge(value: str) -> None:
    DIALECT.check_path({"id": value})


@pytest.mark.parametrize("value", ["a/b", "anthropic/claude"])
def test_a_models_name_may_have_a_slash(value: str) -> None:
    DIALECT.check_path({"model": value})


@pytest.mark.parametrize("name", ["key", "api_key", "API-Key", "x-api-key", "access_token", "k%65y"])
def test_a_secret_in_the_query_goes_no_further(name: str) -> None:
    query = f"limit=1&{name}=s&after_id=%C3%A4+&".encode()
    assert DIALECT.forwarded_query(query) == b"limit=1&after_id=%C3%A4+&"


def test_the_rest_of_the_query_is_not_looked_at() -> None:
    assert DIALECT.forwarded_query(b"") == b""
    assert DIALECT.forwarded_query(b"limit=1&after_id=%C3%A4+") == b"limit=1&after_id=%C3%A4+"


def test_a_secret_stands_where_either_generation_of_sdks_puts_it() -> None:
    headers = [(b"authorization", b"Bearer b"), (b"x-api-key", b"a"), (b"x-goog-api-key", b"c")]
    assert DIALECT.secrets_in(client_head("GET", b"/", b"key=k", headers)) == ["b", "a"]


def test_the_lines_for_a_client_are_variables_of_its_sdks() -> None:
    assert DIALECT.client_lines("http://relay", "rt_1", ()) == (
        "export ANTHROPIC_BASE_URL=http://relay ANTHROPIC_AUTH_TOKEN=rt_1",
    )
