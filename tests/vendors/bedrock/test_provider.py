"""Bedrock: what goes upstream and where, what reads its answers, what is judged."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.credential import Credential
from relay_trio.api.position import Form
from relay_trio.api.probe_answer import ProbeAnswer
from relay_trio.errors import BadRequest, UpstreamProtocolError, UpstreamRefused
from relay_trio.http import ResponseHead
from relay_trio.outcome import Phase, Word
from relay_trio.usage import NO_USAGE
from relay_trio.vendors.bedrock.provider import exception_of
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.vendors.registry import PROVIDERS
from relay_trio.wire.sigv4 import is_signature_of, parse_claim
from tests.support.accounts import AWS_PAIR, bedrock_settings
from tests.support.bedrock_frames import CLAUDE
from tests.support.vendor_calls import build_request, client_headers, new_reader

if TYPE_CHECKING:
    from relay_trio.http import UpstreamRequest

BEDROCK = PROVIDERS["bedrock"]
"""With what is translated for it, as it is configured."""
STREAM = ResponseHead(200, [(b"content-type", b"application/vnd.amazon.eventstream")])
JSON = ResponseHead(200, [(b"content-type", b"application/json")])
HOST = "bedrock-runtime.eu-central-1.amazonaws.com"
PATH = b"/model/eu.anthropic.m-v1%3A0/invoke"


def incoming(
    *headers: tuple[bytes, bytes],
    operation: str = "bedrock.invoke",
    path: bytes = PATH,
    query: bytes = b"",
    body: bytes = b"{}",
    method: str = "POST",
    stream: bool = False,
) -> CheckedRequest:
    return CheckedRequest(operation, method, path, query, list(headers), body, "m", stream)


def build(settings: BedrockSettings, checked: CheckedRequest) -> UpstreamRequest:
    credential = BEDROCK.credential(settings)
    assert isinstance(credential, Credential)
    return build_request(BEDROCK, settings, checked, credential)


# --- requests -----------------------------------------------------------------------------------------------------


def test_the_clients_own_proof_stays_and_the_accounts_goes() -> None:
    sent = (
        (b"host", b"relay"),
        (b"authorization", b"AWS4-HMAC-SHA256 Credential=theirs"),
        (b"x-amz-date", b"20200101T000000Z"),
        (b"x-amz-security-token", b"theirs"),
        (b"x-amz-content-sha256", b"theirs"),
        (b"amz-sdk-invocation-id", b"theirs"),
        (b"amz-sdk-request", b"attempt=1"),
        (b"x-amzn-trace-id", b"theirs"),
        (b"x-api-key", b"theirs"),
        (b"cookie", b"a=b"),
        (b"x-stainless-timeout", b"NOT_GIVEN"),
        (b"content-type", b"application/json"),
        (b"accept", b"*/*"),
        (b"x-amzn-bedrock-accept", b"application/json"),
        (b"x-amzn-bedrock-guardrailidentifier", b"g"),
    )
    built = build(bedrock_settings(**AWS_PAIR), incoming(*sent))
    assert [name for name, _ in built.headers] == [
        b"content-type", b"accept", b"x-amzn-bedrock-accept", b"x-amzn-bedrock-guardrailidentifier",
        b"x-amz-date", b"authorization", b"accept-encoding",
    ]  # fmt: skip
    assert not any(b"theirs" in value for _, value in built.headers)
    assert (b"accept-encoding", b"identity") in built.headers


@pytest.mark.parametrize("path", [PATH, b"/model/a:b%2Fc/converse", b"/model/arn%3aaws%3Ab/invoke"])
def test_the_path_goes_up_with_the_escapes_it_came_with_and_is_signed_so(path: bytes) -> None:
    built = build(bedrock_settings(**AWS_PAIR), incoming(path=path, body=b'{"a":1}'))
    assert (built.scheme, built.host, built.port, built.target) == ("https", HOST, 443, path)
    arriving = [(b"host", HOST.encode()), *built.headers]
    digest = hashlib.sha256(b'{"a":1}').hexdigest()
    assert is_signature_of(
        parse_claim(arriving), AWS_PAIR["secret_access_key"], "POST", path, b"", arriving, body_hash=digest
    )


def test_an_api_key_goes_as_bearer_and_nothing_is_signed() -> None:
    built = build(bedrock_settings(api_key="ABSK-key"), incoming())
    assert (b"authorization", b"Bearer ABSK-key") in built.headers
    assert not any(name.startswith(b"x-amz-") for name, _ in built.headers)


def test_the_listing_is_asked_of_the_control_plane() -> None:
    checked = incoming(
        operation="bedrock.inference_profiles", path=b"/inference-profiles", query=b"type=SYSTEM_DEFINED", method="GET"
    )
    built = build(bedrock_settings(**AWS_PAIR), checked)
    assert (built.method, built.host) == ("GET", "bedrock.eu-central-1.amazonaws.com")
    assert built.target == b"/inference-profiles?type=SYSTEM_DEFINED"


def test_a_base_url_of_ones_own_is_signed_with_its_port_and_path() -> None:
    built = build(bedrock_settings(**AWS_PAIR, base_url="http://127.0.0.1:8123/base"), incoming())
    assert (built.scheme, built.host, built.port, built.target) == ("http", "127.0.0.1", 8123, b"/base" + PATH)
    arriving = [(b"host", b"127.0.0.1:8123"), *built.headers]
    digest = hashlib.sha256(b"{}").hexdigest()
    assert is_signature_of(
        parse_claim(arriving), AWS_PAIR["secret_access_key"], "POST", built.target, b"", arriving, body_hash=digest
    )


@pytest.mark.parametrize(
    "checked",
    [
        incoming((b"x-amzn-bedrock-guardrailidentifier", b"\xc3\xa9")),
        incoming((b"accept", b"a\tb")),
        incoming(query=b"a=b+c"),
        incoming(query=b"a=%2f"),
        incoming(query=b"a=%zz"),
        incoming(query=b"a=\xff"),
    ],
)
def test_what_aws_might_read_differently_is_the_clients_mistake_and_not_the_accounts(checked: CheckedRequest) -> None:
    """A signature that AWS computes otherwise would be a 403, held against the account."""
    with pytest.raises(BadRequest):
        build(bedrock_settings(**AWS_PAIR), checked)


def test_a_message_of_claudes_api_goes_out_as_an_invocation() -> None:
    checked = incoming(
        (b"anthropic-version", b"2023-06-01"), (b"x-api-key", b"theirs"),
        operation="claude.messages", path=b"/v1/messages", query=b"beta=true",
        body=b'{"model":"m","top_k":1}', stream=True,
    )  # fmt: skip
    built = build(bedrock_settings(**AWS_PAIR, model_ids={"m": "eu.n"}), checked)
    assert built.target == b"/model/eu.n/invoke-with-response-stream"
    assert built.body == b'{"anthropic_version":"bedrock-2023-05-31","top_k":1}'
    assert {name for name, _ in built.headers} == {
        b"content-type", b"accept", b"x-amz-date", b"authorization", b"accept-encoding",
    }  # fmt: skip


# --- answers ------------------------------------------------------------------------------------------------------


def test_only_listed_headers_reach_the_client() -> None:
    sent = [
        (b"content-type", b"application/json"),
        (b"x-amzn-bedrock-input-token-count", b"3"),
        (b"x-amzn-requestid", b"theirs"),
        (b"x-amzn-errortype", b"ValidationException:http://x/"),
        (b"set-cookie", b"a=b"),
        (b"date", b"now"),
    ]
    kept = [sent[0], sent[1], sent[3]]
    assert client_headers(BEDROCK, ResponseHead(200, sent), incoming()) == kept
    translated = incoming(operation="claude.messages")
    assert client_headers(BEDROCK, ResponseHead(200, sent), translated) == sent[:1]


def test_a_translated_stream_has_the_headers_of_one() -> None:
    checked = incoming(operation="claude.messages", stream=True)
    head = ResponseHead(200, [*STREAM.headers, (b"content-length", b"99")])
    assert client_headers(BEDROCK, head, checked) == [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    ]
    assert new_reader(BEDROCK, STREAM, checked).position.form is Form.EVENTS


def test_what_costs_no_tokens_is_not_metered() -> None:
    for operation in ("bedrock.count_tokens", "bedrock.inference_profiles"):
        reader = new_reader(BEDROCK, JSON, incoming(operation=operation))
        reader.feed(b'{"inputTokens": 5, "usage": {"inputTokens": 5}}')
        assert reader.finish() == NO_USAGE


@pytest.mark.parametrize("operation", ["bedrock.invoke_stream", "bedrock.converse_stream", "claude.messages"])
def test_a_stream_that_is_none_is_the_upstreams_mistake(operation: str) -> None:
    with pytest.raises(UpstreamProtocolError):
        new_reader(BEDROCK, JSON, incoming(operation=operation, stream=True))
    compressed = ResponseHead(200, [*STREAM.headers, (b"content-encoding", b"gzip")])
    with pytest.raises(UpstreamProtocolError):
        new_reader(BEDROCK, compressed, incoming((b"accept-encoding", b"gzip"), operation=operation, stream=True))


def test_a_native_stream_is_passed_and_a_whole_translated_message_too() -> None:
    reader = new_reader(BEDROCK, STREAM, incoming(operation="bedrock.invoke_stream", stream=True))
    assert (reader.feed(CLAUDE[0]), reader.position.form) == (CLAUDE[0], Form.FRAMES)
    whole = new_reader(BEDROCK, JSON, incoming(operation="claude.messages"))
    assert whole.feed(b'{"usage":{"input_tokens":3}}') == b'{"usage":{"input_tokens":3}}'
    assert whole.finish().input_tokens == 3


# --- verdicts -----------------------------------------------------------------------------------------------------


def refusal(status: int, exception: str = "", *more: tuple[bytes, bytes]) -> ResponseHead:
    named = [(b"x-amzn-errortype", f"{exception}:http://internal.amazon.com/coral/".encode())] if exception else []
    return ResponseHead(status, [*named, *more])


def test_the_name_of_an_exception_ends_at_its_link() -> None:
    assert exception_of(refusal(400, "ValidationException")) == "ValidationException"
    assert exception_of(ResponseHead(400, [(b"x-amzn-errortype", b"Throttling")])) == "Throttling"
    assert exception_of(ResponseHead(400, [])) == ""


@pytest.mark.parametrize(
    ("head", "retryable", "cooldown", "strike", "disable", "passed"),
    [
        (refusal(400, "ValidationException"), False, None, False, False, True),
        (refusal(404, "ResourceNotFoundException"), True, None, False, False, True),
        (refusal(413), False, None, False, False, True),
        (refusal(400, "ServiceQuotaExceededException"), True, 5.0, False, False, True),
        (refusal(429, "ThrottlingException"), True, 5.0, False, False, True),
        (refusal(429, "ThrottlingException", (b"retry-after", b"7")), True, 7.0, False, False, True),
        (refusal(503, "ServiceUnavailableException"), True, 2.0, False, False, True),
        (refusal(408, "ModelTimeoutException"), True, None, False, False, True),
        (refusal(424, "ModelErrorException"), True, None, False, False, True),
        (refusal(500, "InternalServerException"), True, None, True, False, True),
        (refusal(403, "AccessDeniedException"), True, None, True, False, False),
        (refusal(403, "InvalidSignatureException"), True, None, True, False, False),
        (refusal(403, "UnrecognizedClientException"), True, None, False, True, False),
        (refusal(401), True, None, False, True, False),
        (refusal(403, "ExpiredTokenException"), True, None, False, True, False),
        (refusal(302), True, None, True, False, False),
    ],
)
def test_an_error_is_judged_by_its_name(
    head: ResponseHead, retryable: bool, cooldown: float | None, strike: bool, disable: bool, passed: bool
) -> None:
    verdict = BEDROCK.judge(head, b"{}", 0)
    assert (verdict.is_retryable, verdict.cooldown_seconds, verdict.is_strike) == (retryable, cooldown, strike)
    assert (verdict.is_credential_refused, verdict.is_passed_through) == (disable, passed)
    assert isinstance(verdict.error, UpstreamRefused) is (not passed and head.status != 302)


@pytest.mark.parametrize(
    ("status", "exception", "message", "is_passed_through"),
    [
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", False),
        (403, "AccessDeniedException", "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: canary", False),
        (404, "ResourceNotFoundException", "Model use case details have not been submitted for this account.", False),
        (400, "ValidationException", "The provided model identifier is invalid.", True),
    ],
)
def test_a_model_that_an_account_lacks_is_tried_elsewhere_and_blames_nobody(
    status: int, exception: str, message: str, is_passed_through: bool
) -> None:
    verdict = BEDROCK.judge(refusal(status, exception), json.dumps({"message": message}).encode(), 0)
    assert (verdict.is_retryable, verdict.is_strike, verdict.cooldown_seconds) == (True, False, None)
    assert (verdict.is_credential_refused, verdict.is_passed_through) == (False, is_passed_through)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"message": 3}', b'{"message": "x: You don\'t have access to the model"}']
)
def test_any_other_refusal_counts_against_the_account(body: bytes) -> None:
    verdict = BEDROCK.judge(refusal(403, "AccessDeniedException"), body, 0)
    assert (verdict.is_retryable, verdict.is_strike, verdict.is_passed_through) == (True, True, False)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (refusal(400, "ValidationException"), Word.REJECTED_REQUEST),
        (refusal(400, "ServiceQuotaExceededException"), Word.UPSTREAM_RATE_LIMITED),
        (refusal(408, "ModelTimeoutException"), Word.UPSTREAM_TIMEOUT),
        (refusal(424, "ModelErrorException"), Word.UPSTREAM_ERROR),
    ],
)
def test_the_verdict_decides_what_is_booked(head: ResponseHead, word: Word) -> None:
    assert BEDROCK.judge(head, b"{}", 0).error.outcome_in(Phase.HEAD).word is word


def test_to_claudes_clients_an_error_is_told_as_anthropic_tells_it() -> None:
    head = refusal(503, "ServiceUnavailableException")
    translated = BEDROCK.calls["claude.messages"].error(head, b'{"message":"busy"}')
    assert translated is not None
    status, body = translated
    assert (status, json.loads(body)["error"]) == (529, {"type": "overloaded_error", "message": "busy"})
    assert BEDROCK.calls["bedrock.invoke"].error(head, b'{"message":"busy"}') is None


# --- the check ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "accepted"),
    [
        (refusal(400, "ValidationException"), True),
        (refusal(404, "ResourceNotFoundException"), True),
        (ResponseHead(200, []), True),
        (refusal(403, "UnrecognizedClientException"), False),
        (refusal(403, "AccessDeniedException"), False),
        (refusal(404), False),
        (refusal(400), False),
    ],
)
def test_a_credential_is_good_when_only_the_model_is_wrong(head: ResponseHead, accepted: bool) -> None:
    credential = BEDROCK.credential(bedrock_settings(**AWS_PAIR))
    assert isinstance(credential, Credential)
    probe = BEDROCK.probe_request(bedrock_settings(**AWS_PAIR), credential)
    assert (probe.method, probe.host, probe.target) == ("POST", HOST, b"/model/relay-trio-check/invoke")
    assert (BEDROCK.judge_probe(head) is ProbeAnswer.ACCEPTED) is accepted


def test_what_stands_in_the_configuration_needs_no_resolution_and_the_rest_does() -> None:
    assert isinstance(BEDROCK.credential(bedrock_settings(**AWS_PAIR)), Credential)
    chained = bedrock_settings()
    assert callable(BEDROCK.credential(chained))


def test_the_upstreams_request_id_is_in_its_header() -> None:
    assert BEDROCK.request_id(ResponseHead(200, [(b"x-amzn-requestid", b"7f1c")])) == "7f1c"
    assert BEDROCK.request_id(ResponseHead(200, [])) == ""


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"api_key": "ABSK0123456789abcdef0123"}, "key ABSK012…123"),
        ({"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "canary"}, "access key AKIAIOS…PLE"),
        ({"profile": "work"}, "profile work"),
        ({}, "AWS default chain"),
        ({"assume_role_arn": "arn:aws:iam::123456789012:role/team/relay"}, "AWS default chain, role relay"),
    ],
)
def test_the_description_says_what_the_account_authenticates_with(changes: dict[str, str], shown: str) -> None:
    plain = {"name": "b", "provider": "bedrock", "region": "eu-central-1", "max_concurrency": 1}
    settings = BedrockSettings.model_validate(plain | changes)
    assert BEDROCK.describe_credential(settings) == shown
