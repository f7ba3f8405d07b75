"""Errors for clients of Gemini: an envelope before the stream, lines or an element inside it."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from relay_trio.api.position import WHOLE
from relay_trio.api.sse_reader import SseReader
from relay_trio.errors import ErrorKind, NotFound, NoUsableAccount, RelayError, UpstreamError, UpstreamTimeout
from relay_trio.http import ResponseHead
from relay_trio.vendors.gemini.dialect import GeminiDialect, details_of, error_in
from relay_trio.vendors.gemini.stream import ArrayReader, GeminiFold
from relay_trio.wire.json_array import JsonArrayElements
from tests.support.client_requests import client_head
from tests.support.gemini_answers import ARRAY, ERROR, EVENTS

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader

DIALECT = GeminiDialect()
BROKE = UpstreamTimeout("it broke")
BAD = ResponseHead(400, [(b"content-type", b"application/json"), (b"cache-control", b"no-cache")])
COMPRESSED = ResponseHead(400, [*BAD.headers, (b"content-encoding", b"gzip")])


def test_every_kind_of_error_has_a_status_and_an_envelope() -> None:
    for kind in ErrorKind:
        error = type("E", (NoUsableAccount,), {"kind": kind})("why", retry_after=2.5)
        status, headers, body = DIALECT.error_response(error, "req_1")
        sent = json.loads(body)["error"]
        assert sent["code"] == status == DIALECT.status_of(error)
        assert 400 <= status < 600
        assert sent["message"] == "why"
        assert sent["status"].isupper()
        assert details_of(sent, "RetryInfo")["retryDelay"] == "2.5s"
        assert details_of(sent, "RequestInfo")["requestId"] == "req_1"
        assert {name for name, _ in headers} <= {b"content-type", b"x-should-retry"}


@pytest.mark.parametrize(
    ("wait", "sent"), [(3600.0, "3600s"), (0.0, "0s"), (-3.0, "0s"), (1e-9, "1e-09s"), (None, None)]
)
def test_a_wait_is_in_the_body_and_the_truth(wait: float | None, sent: str | None) -> None:
    _, _, body = DIALECT.error_response(RelayError("why", retry_after=wait), "req_1")
    assert details_of(json.loads(body)["error"], "RetryInfo").get("retryDelay") == sent


def after(reader: AnswerReader, *pieces: bytes) -> bytes:
    """What came, and the closing event."""
    for piece in pieces:
        reader.feed(piece)
    return b"".join(pieces) + DIALECT.closing_event(BROKE, "req_1", reader.position)


def test_between_events_it_is_lines_of_json_as_googles_own() -> None:
    sent = after(SseReader(GeminiFold()), *EVENTS[:2]).removeprefix(b"".join(EVENTS[:2]))
    assert sent.endswith(b"}\n")
    assert not sent.startswith(b"\n")
    assert json.loads(sent)["error"]["status"] == "DEADLINE_EXCEEDED"


def test_inside_an_event_it_begins_a_line() -> None:
    whole = b"".join(EVENTS)
    start = len(EVENTS[0])
    for at in range(start + 1, start + len(EVENTS[1]) - 3):
        sent = after(SseReader(GeminiFold()), whole[:at]).removeprefix(whole[:at])
        assert sent.startswith(b"\n{\n")
        assert json.loads(sent)["error"]["message"] == "it broke"


def test_in_an_array_it_is_one_more_element_and_no_end() -> None:
    """Whoever reads elements finds it, and whoever waits for the bracket never gets it."""
    for count, pieces in enumerate([(b"",), (b" [",), ARRAY[:1], ARRAY[:2], ARRAY[:3], (ARRAY[0], b",")]):
        sent = after(ArrayReader(), *pieces)
        elements = JsonArrayElements()
        assert json.loads(elements.feed(sent)[-1])["error"]["message"] == "it broke", count
        assert not elements.is_complete
        with pytest.raises(ValueError, match=r"Expecting|delimiter"):
            json.loads(sent)


def test_inside_an_element_and_after_the_end_there_is_no_place() -> None:
    whole = b"".join(ARRAY)
    start = len(ARRAY[0])
    for at in range(start + 5, start + len(ARRAY[1])):
        assert after(ArrayReader(), whole[:at]) == whole[:at]
    assert after(ArrayReader(), whole) == whole
    assert after(ArrayReader(), b"[{}{") == b"[{}{"


def test_whole_and_compressed_answers_have_no_place() -> None:
    assert DIALECT.closing_event(BROKE, "req_1", WHOLE) == b""


@pytest.mark.parametrize("theirs", [ERROR, [ERROR]])
def test_the_upstreams_error_goes_as_it_came(theirs: object) -> None:
    """Streams without ``alt=sse`` have it in an array."""
    body = json.dumps(theirs).encode()
    status, headers, sent = DIALECT.passed_on(UpstreamError("x"), BAD, body, "req_1")
    assert (status, sent) == (400, body)
    assert headers == [(b"cache-control", b"no-cache"), (b"content-type", b"application/json; charset=UTF-8")]
    assert DIALECT.passed_on(UpstreamError("x"), COMPRESSED, gzip.compress(body), "req_1")[2] == body


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"error": 1}', b"[" * 5000, b"\xff", b'[{"error":{}},{}]'])
def test_an_upstream_error_that_is_no_envelope_becomes_ours(body: bytes) -> None:
    sent = json.loads(DIALECT.passed_on(UpstreamError("it failed"), BAD, body, "req_1")[2])["error"]
    assert (sent["code"], sent["status"], sent["message"]) == (502, "UNAVAILABLE", "it failed")


@pytest.mark.parametrize("document", [None, 3, [], {}, {"error": "x"}, [{}, {}]])
def test_other_documents_hold_no_error(document: object) -> None:
    assert error_in(document) is None


def test_details_are_found_by_their_type() -> None:
    error = {
        "details": [3, {"@type": "type.googleapis.com/google.rpc.Help"}, {"@type": "x/google.rpc.RetryInfo", "a": 1}]
    }
    assert details_of(error, "RetryInfo") == {"@type": "x/google.rpc.RetryInfo", "a": 1}
    assert details_of({"details": {}}, "RetryInfo") == {}
    assert details_of({}, "RetryInfo") == {}


# --- what of a request is theirs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "headers", "meant"),
    [
        ("/v1beta/models", b"", [], True),
        ("/v1alpha/x", b"", [], True),
        ("/v1/projects/p", b"", [], True),
        ("/v1/models", b"", [], False),
        ("/v1/models", b"key=k", [], True),
        ("/v1/models", b"akey=k", [], False),
        ("/v1/models/g:generateContent", b"", [], True),
        ("/v1/messages", b"key=k", [], False),
        ("/v1/messages", b"", [(b"x-goog-api-key", b"k")], True),
        ("/v1/models", b"", [(b"x-api-key", b"k")], False),
    ],
)
def test_who_speaks_this_dialect(path: str, query: bytes, headers: list[tuple[bytes, bytes]], meant: bool) -> None:
    assert DIALECT.claims(client_head("GET", path.encode(), query, headers)) is meant


def test_a_colon_may_be_escaped() -> None:
    assert DIALECT.claims(client_head("POST", b"/v1/models/g%3AgenerateContent", b"", []))


def test_the_name_of_a_model_is_one_part_of_the_path() -> None:
    DIALECT.check_path({"model": "g:1,x=y"})
    DIALECT.check_path({"project": "a/b"})
    with pytest.raises(NotFound, match="countTokens"):
        DIALECT.check_path({"model": "a/b"})


def test_a_key_in_the_query_is_tried_last_and_goes_no_further() -> None:
    headers = [(b"x-goog-api-key", b"a"), (b"authorization", b"Bearer b"), (b"x-api-key", b"c")]
    assert DIALECT.secrets_in(client_head("GET", b"/", b"alt=sse&key=k", headers)) == ["a", "b", "c", "k"]
    assert DIALECT.forwarded_query(b"alt=sse&key=k") == b"alt=sse"
    assert DIALECT.forwarded_query(b"") == b""


def test_the_lines_for_a_client_are_variables_of_its_sdks() -> None:
    assert DIALECT.client_lines("http://relay", "rt_1", ()) == (
        "export GOOGLE_GEMINI_BASE_URL=http://relay GEMINI_API_KEY=rt_1",
    )
