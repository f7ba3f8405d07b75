"""The Gemini API: what goes upstream, what comes back, what is judged."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.api.sse_reader import SseReader
from relay_trio.errors import BadRequest, UpstreamProtocolError, UpstreamRateLimited, UpstreamRefused, UpstreamRejected
from relay_trio.http import ResponseHead, UpstreamRequest, header
from relay_trio.outcome import Phase, Word
from relay_trio.usage import NO_USAGE, UsageStats
from relay_trio.vendors.gemini import operations as gemini
from relay_trio.vendors.gemini.provider import Gemini, retry_delay
from relay_trio.vendors.gemini.stream import ArrayReader
from tests.support.accounts import gemini_settings
from tests.support.cuts import cuts
from tests.support.gemini_answers import counts
from tests.support.vendor_calls import build_request, client_headers, new_reader

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.vendors.gemini.settings import GeminiSettings

GEMINI = Gemini()
SSE = ResponseHead(200, [(b"content-type", b"text/event-stream")])
JSON = ResponseHead(200, [(b"content-type", b"application/json; charset=UTF-8")])
VERTEX_PATH = b"/v1beta1/projects/theirs/locations/theirs/publishers/google/models/g:streamGenerateContent"


def incoming(
    *headers: tuple[bytes, bytes],
    operation: str = gemini.STREAM.name,
    path: bytes = b"/v1beta/models/g:streamGenerateContent",
    query: bytes = b"",
    **more: Any,
) -> CheckedRequest:
    return CheckedRequest(operation, "POST", path, query, list(headers), b'{"contents": []}', "g", True, **more)


def build(settings: GeminiSettings, checked: CheckedRequest) -> UpstreamRequest:
    return build_request(GEMINI, settings, checked, GEMINI.credential(settings))


# --- requests -----------------------------------------------------------------------------------------------------


def test_the_clients_credentials_and_headers_stay_and_the_accounts_key_goes() -> None:
    sent = build(
        gemini_settings(),
        incoming(
            (b"x-goog-api-key", b"rt_client"), (b"authorization", b"Bearer rt_client"), (b"cookie", b"a=b"),
            (b"x-goog-user-project", b"theirs"), (b"x-goog-fieldmask", b"candidates"),
            (b"x-http-method-override", b"GET"), (b"remote-addr", b"10.0.0.1"),
            (b"x-goog-api-client", b"google-genai-sdk/3"), (b"x-forwarded-for", b"10.0.0.1"),
            (b"content-type", b"application/json"), (b"x-server-timeout", b"600"),
            query=b"alt=sse&key=rt_client",
        ),
    )  # fmt: skip
    assert (sent.method, sent.scheme, sent.host, sent.port) == (
        "POST", "https", "generativelanguage.googleapis.com", 443,
    )  # fmt: skip
    assert sent.target == b"/v1beta/models/g:streamGenerateContent?alt=sse"
    assert dict(sent.headers).keys() == {
        b"content-type", b"x-server-timeout", b"accept-encoding", b"x-goog-api-key",
    }  # fmt: skip
    assert header(sent.headers, b"x-goog-api-key") == b"AIza-account"
    assert b"rt_client" not in repr(sent).encode()
    assert sent.body == b'{"contents": []}'


@pytest.mark.parametrize("path", [b"/v1/models/g%3A1:streamGenerateContent", b"/v1/models/g%3astreamGenerateContent"])
def test_a_path_of_its_own_goes_byte_for_byte(path: bytes) -> None:
    assert build(gemini_settings(), incoming(path=path, query=b"x=%20&alt=sse")).target == path + b"?x=%20&alt=sse"


def test_a_path_of_vertex_is_rewritten() -> None:
    sent = build(gemini_settings(base_url="http://127.0.0.1:9/pre"), incoming(path=VERTEX_PATH, query=b"alt=sse"))
    assert (sent.scheme, sent.host, sent.port) == ("http", "127.0.0.1", 9)
    assert sent.target == b"/pre/v1beta/models/g:streamGenerateContent?alt=sse"


def test_a_query_that_is_not_relayed_never_goes_out() -> None:
    with pytest.raises(BadRequest):
        build(gemini_settings(), incoming(query=b"alt=proto"))


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [(b"gzip, deflate, br", b"gzip"), (b"br", b"identity"), (b"identity", b"identity"), (None, b"identity")],
)
def test_only_an_encoding_that_can_be_looked_into_is_asked_for(accepted: bytes | None, sent: bytes) -> None:
    headers = [] if accepted is None else [(b"accept-encoding", accepted)]
    assert header(build(gemini_settings(), incoming(*headers)).headers, b"accept-encoding") == sent


def test_the_probe_costs_nothing_and_says_whether_the_key_is_good() -> None:
    settings = gemini_settings()
    sent = GEMINI.probe_request(settings, GEMINI.credential(settings))
    assert (sent.method, sent.target) == ("GET", b"/v1beta/models?pageSize=1")
    assert header(sent.headers, b"x-goog-api-key") == b"AIza-account"
    assert GEMINI.judge_probe(JSON) is ProbeAnswer.ACCEPTED
    assert GEMINI.judge_probe(ResponseHead(400, [])) is ProbeAnswer.REFUSED


def test_a_credential_is_the_key_and_is_never_shown() -> None:
    credential = GEMINI.credential(gemini_settings())
    assert credential.value == "AIza-account"
    assert "AIza" not in repr(credential)


# --- answers ------------------------------------------------------------------------------------------------------


def test_response_headers_pass_by_allow_list() -> None:
    head = ResponseHead(
        200,
        [
            (b"content-type", b"text/event-stream"), (b"content-length", b"3"), (b"server-timing", b"gfet4t7; dur=1"),
            (b"alt-svc", b"h3"), (b"set-cookie", b"a=b"), (b"content-disposition", b"attachment"), (b"vary", b"Origin"),
            (b"x-goog-ext", b"x"), (b"content-encoding", b"gzip"),
        ],
    )  # fmt: skip
    names = [name for name, _ in client_headers(GEMINI, head, incoming())]
    assert names == [b"content-type", b"content-encoding"], "a stream is complete with its last event"
    whole = replace(incoming(operation=gemini.GENERATE.name), is_stream=False)
    assert b"content-length" in dict(client_headers(GEMINI, head, whole))


@pytest.mark.parametrize(
    ("head", "operation", "kind"),
    [
        (SSE, gemini.STREAM.name, SseReader),
        (JSON, gemini.STREAM.name, ArrayReader),
        (SSE, gemini.GENERATE.name, SseReader),
    ],
)
def test_each_form_has_its_reader(head: ResponseHead, operation: str, kind: type[object]) -> None:
    assert isinstance(new_reader(GEMINI, head, incoming(operation=operation)), kind)


def test_a_stream_in_no_known_form_is_refused_before_it_begins() -> None:
    head = ResponseHead(200, [(b"content-type", b"text/html")])
    with pytest.raises(UpstreamProtocolError, match="requested form"):
        new_reader(GEMINI, head, incoming())


def test_an_array_is_no_answer_to_a_request_for_events() -> None:
    with pytest.raises(UpstreamProtocolError, match="requested form"):
        new_reader(GEMINI, JSON, incoming(query=b"alt=sse"))


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_an_encoding_nobody_asked_for_is_refused(encoding: bytes) -> None:
    head = ResponseHead(200, [*JSON.headers, (b"content-encoding", encoding)])
    with pytest.raises(UpstreamProtocolError, match="did not accept"):
        new_reader(GEMINI, head, incoming((b"accept-encoding", b"identity")))


def metered(operation: str, body: bytes, head: ResponseHead = JSON, *headers: tuple[bytes, bytes]) -> UsageStats:
    usage = NO_USAGE
    for cut in cuts(body, drawn=2):
        reader = new_reader(GEMINI, head, incoming(*headers, operation=operation))
        for piece in cut:
            assert reader.feed(piece) == piece
        assert reader.is_complete
        usage = reader.finish()
    return usage


def test_a_large_answer_is_scanned_for_its_usage_as_it_passes() -> None:
    picture = {"inlineData": {"data": "x" * 200_000}}
    body = {"candidates": [{"content": {"parts": [picture]}}], "usageMetadata": counts(30)}
    assert metered(gemini.GENERATE.name, json.dumps(body).encode()).total_tokens == 30


def test_a_compressed_answer_is_looked_into() -> None:
    body = gzip.compress(json.dumps({"usageMetadata": counts(30)}).encode())
    head = ResponseHead(200, [*JSON.headers, (b"content-encoding", b"gzip")])
    assert metered(gemini.GENERATE.name, body, head, (b"accept-encoding", b"gzip")).total_tokens == 30


# --- verdicts -----------------------------------------------------------------------------------------------------


def envelope(status: str = "", *details: dict[str, Any], message: str = "why") -> bytes:
    return json.dumps({"error": {"code": 1, "message": message, "status": status, "details": list(details)}}).encode()


def retry_info(delay: object) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("34.4s", 34.4), ("0s", 0.0), ("7s", 7.0), ("-3s", 10.0), ("3", 10.0), ("s", 10.0), (3, 10.0), ("nans", 10.0),
     ("1e9s", 10.0), ("1.2.3s", 10.0), ("\u0663s", 3.0), (None, 10.0)],
)  # fmt: skip
def test_a_429_cools_the_account_for_what_its_body_asks(delay: object, seconds: float) -> None:
    """Google sends no ``retry-after``."""
    verdict = GEMINI.judge(ResponseHead(429, []), envelope("RESOURCE_EXHAUSTED", retry_info(delay)), 0)
    assert (verdict.is_retryable, verdict.cooldown_seconds) == (True, seconds)
    assert isinstance(verdict.error, UpstreamRateLimited)


def test_the_recorded_429_is_understood(corpus: Path) -> None:
    body = json.dumps(json.loads((corpus / "errors" / "gemini-429.json").read_text())["body"]).encode()
    for sent in (body, b"[" + body + b"]"):
        assert GEMINI.judge(ResponseHead(429, []), sent, 0).cooldown_seconds == 34.4
    head = ResponseHead(429, [(b"content-encoding", b"gzip")])
    assert GEMINI.judge(head, gzip.compress(body), 0).cooldown_seconds == 34.4


def test_an_overload_cools_for_a_moment() -> None:
    verdict = GEMINI.judge(ResponseHead(503, []), b"<html>", 0)
    assert (verdict.is_retryable, verdict.cooldown_seconds, verdict.is_passed_through) == (True, 2.0, True)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (400, envelope("INVALID_ARGUMENT", message="API key not valid. Please pass a valid API key.")),
        (400, envelope("INVALID_ARGUMENT", message="API key expired. Please renew the API key.")),
        (400, envelope("", {"@type": "x/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"})),
    ],
)
def test_a_refused_key_disables_the_account_and_its_text_is_kept_from_the_client(status: int, body: bytes) -> None:
    """A wrong key is a 400, which no other provider says."""
    verdict = GEMINI.judge(ResponseHead(status, []), body, 0)
    assert (verdict.is_credential_refused, verdict.is_retryable, verdict.is_passed_through) == (True, True, False)
    assert isinstance(verdict.error, UpstreamRefused)


@pytest.mark.parametrize("status", [301, 302, 403])
def test_a_redirect_or_a_403_is_hidden_and_struck(status: int) -> None:
    verdict = GEMINI.judge(ResponseHead(status, []), b"", 0)
    assert (verdict.is_strike, verdict.is_credential_refused) == (True, False)
    assert (verdict.is_retryable, verdict.is_passed_through) == (True, False)


@pytest.mark.parametrize("status", [400, 409, 413])
def test_the_clients_own_mistake_is_passed_on_and_harms_no_account(status: int) -> None:
    verdict = GEMINI.judge(ResponseHead(status, []), envelope("INVALID_ARGUMENT"), 0)
    assert (verdict.is_strike, verdict.is_credential_refused, verdict.is_retryable, verdict.is_passed_through) == (
        False,
        False,
        False,
        True,
    )
    assert type(verdict.error) is UpstreamRejected


@pytest.mark.parametrize(("status", "word"), [(400, "FAILED_PRECONDITION"), (499, "CANCELLED")])
def test_what_is_about_the_account_is_tried_elsewhere(status: int, word: str) -> None:
    """Its country or its billing; or Google's own call, cancelled."""
    verdict = GEMINI.judge(ResponseHead(status, []), envelope(word), 0)
    assert (verdict.is_strike, verdict.is_retryable, verdict.is_passed_through) == (False, True, True)
    assert verdict.error.outcome_in(Phase.HEAD).word is Word.UPSTREAM_ERROR


@pytest.mark.parametrize(
    ("status", "word", "message", "reason"),
    [
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", ""),
        (400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please enable…", ""),
        (403, "PERMISSION_DENIED", "This API method requires billing to be enabled. canary", "BILLING_DISABLED"),
        (403, "PERMISSION_DENIED", "Generative Language API has not been used in project 7", "SERVICE_DISABLED"),
        (403, "PERMISSION_DENIED", "Consumer 'project_number:7' has been suspended.", "CONSUMER_SUSPENDED"),
    ],
)
def test_an_account_that_google_does_not_serve_rests_and_its_text_is_kept_from_the_client(
    status: int, word: str, message: str, reason: str
) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    verdict = GEMINI.judge(ResponseHead(status, []), envelope(word, info, message=message), 0)
    assert (verdict.is_retryable, verdict.is_strike, verdict.cooldown_seconds) == (True, False, 300.0)
    assert not verdict.is_passed_through


@pytest.mark.parametrize(
    ("status", "word", "message", "reason"),
    [
        (403, "PERMISSION_DENIED", "Caller does not have required permission to use project 7", "USER_PROJECT_DENIED"),
        (400, "FAILED_PRECONDITION", "tunedModels/7 needs a project with billing", ""),
    ],
)
def test_what_a_request_may_have_brought_on_blames_nobody_and_is_hidden(
    status: int, word: str, message: str, reason: str
) -> None:
    """A quota project can be the client's own."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    verdict = GEMINI.judge(ResponseHead(status, []), envelope(word, info, message=message), 0)
    assert (verdict.is_retryable, verdict.is_strike, verdict.cooldown_seconds) == (True, False, None)
    assert not verdict.is_passed_through


def test_a_model_that_is_not_there_is_tried_elsewhere_and_is_the_clients_in_the_end() -> None:
    verdict = GEMINI.judge(ResponseHead(404, []), envelope("NOT_FOUND"), 0)
    assert (verdict.is_retryable, verdict.is_strike, verdict.is_passed_through) == (True, False, True)
    assert type(verdict.error) is UpstreamRejected


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_error_is_struck_and_tried_elsewhere(status: int) -> None:
    verdict = GEMINI.judge(ResponseHead(status, []), b"", 0)
    assert (verdict.is_strike, verdict.is_retryable) == (True, True)


@pytest.mark.parametrize("error", [{}, {"details": 3}, {"details": [None, {"@type": 3}]}])
def test_an_error_without_a_delay_names_none(error: dict[str, object]) -> None:
    assert retry_delay(error) is None


def test_a_gateways_request_id_is_in_its_header() -> None:
    assert GEMINI.request_id(ResponseHead(200, [(b"request-id", b"r-1")])) == "r-1"
    assert GEMINI.request_id(ResponseHead(200, [])) == ""
