"""Claude: what goes upstream, what reads its answers, what is judged."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.errors import (
    BadRequest,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRefused,
)
from relay_trio.http import ResponseHead, UpstreamRequest
from relay_trio.vendors.claude.provider import Claude
from tests.support.accounts import claude_settings
from tests.support.vendor_calls import build_request, client_headers, new_reader

if TYPE_CHECKING:
    from relay_trio.vendors.claude.settings import ClaudeSettings

CLAUDE = Claude()
SSE = ResponseHead(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
JSON = ResponseHead(200, [(b"content-type", b"application/json")])


def incoming(
    *headers: tuple[bytes, bytes], query: bytes = b"", path: bytes = b"/v1/messages", operation: str = "claude.messages"
) -> CheckedRequest:
    return CheckedRequest(operation, "POST", path, query, list(headers), b"{}", "m", True)


def build(settings: ClaudeSettings, checked: CheckedRequest) -> UpstreamRequest:
    credential = CLAUDE.credential(settings)
    return build_request(CLAUDE, settings, checked, credential)


# --- requests -----------------------------------------------------------------------------------------------------


def test_a_guardrail_of_bedrocks_is_not_bypassed_at_anthropic() -> None:
    with pytest.raises(BadRequest, match="only Amazon Bedrock"):
        build(claude_settings(), incoming((b"x-amzn-bedrock-guardrailidentifier", b"gr-1")))


def test_the_clients_credential_and_cookies_stay_and_the_accounts_key_goes() -> None:
    sent = incoming(
        (b"host", b"relay"),
        (b"x-api-key", b"rt_client"),
        (b"authorization", b"Bearer rt_client"),
        (b"cookie", b"a=b"),
        (b"remote-addr", b"127.0.0.1"),
        (b"connection", b"keep-alive"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"x-amz-date", b"now"),
        (b"x-stainless-timeout", b"NOT_GIVEN"),
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2026-10-21"),
        (b"anthropic-beta", b"a-2025,b-2026"),
    )
    built = build(claude_settings(), sent)
    assert dict(built.headers) == {
        b"content-type": b"application/json",
        b"anthropic-version": b"2026-10-21",
        b"anthropic-beta": b"a-2025,b-2026",
        b"accept-encoding": b"identity",
        b"x-api-key": b"sk-account",
    }


def test_anthropics_own_fields_are_an_open_list_and_go_as_they_came() -> None:
    fields = [
        (b"anthropic-version", b"2026-10-21"),
        (b"anthropic-beta", b"a-2025,unknown-2031, b"),
        (b"anthropic-workspace-id", b"wrkspc_1"),
        (b"anthropic-of-a-later-release", b"yes"),
    ]
    built = build(claude_settings(), incoming(*fields, (b"x-anthropic-api-key", b"rt_client")))
    assert built.headers[:4] == fields
    assert b"rt_client" not in str(built.headers).encode()


def test_path_and_query_go_upstream_byte_for_byte_below_the_accounts_base() -> None:
    built = build(
        claude_settings(base_url="https://proxy.example:8443/base"),
        incoming(query=b"beta=true&x=%2F", path=b"/v1/a%2Fb"),
    )
    assert (built.scheme, built.host, built.port) == ("https", "proxy.example", 8443)
    assert built.target == b"/base/v1/a%2Fb?beta=true&x=%2F"


def test_an_oauth_token_goes_as_bearer_with_its_beta_added_once() -> None:
    built = build(claude_settings(api_key="sk-ant-oat-1"), incoming((b"anthropic-beta", b"a")))
    assert (b"authorization", b"Bearer sk-ant-oat-1") in built.headers
    assert (b"anthropic-beta", b"a,oauth-2025-04-20") in built.headers
    assert not any(name == b"x-api-key" for name, _ in built.headers)


def test_only_encodings_that_can_be_metered_are_asked_for() -> None:
    checked = build(claude_settings(), incoming((b"accept-encoding", b"gzip, deflate, br, zstd")))
    assert (b"accept-encoding", b"gzip") in checked.headers


def test_only_listed_response_headers_reach_the_client() -> None:
    head = ResponseHead(
        200,
        [
            (b"content-type", b"text/event-stream"),
            (b"set-cookie", b"__cf_bm=1"),
            (b"server", b"x"),
            (b"via", b"x"),
            (b"request-id", b"req_theirs"),
            (b"anthropic-organization-id", b"org"),
            (b"anthropic-ratelimit-requests-remaining", b"9"),
            (b"anthropic-ratelimit-unified-7d_opus-utilization", b"0.5"),
            (b"transfer-encoding", b"chunked"),
        ],
    )
    for status in (200, 429):
        assert client_headers(CLAUDE, ResponseHead(status, head.headers), incoming()) == [
            (b"content-type", b"text/event-stream"),
            (b"anthropic-ratelimit-requests-remaining", b"9"),
            (b"anthropic-ratelimit-unified-7d_opus-utilization", b"0.5"),
        ]


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_an_encoding_nobody_asked_for_is_refused(encoding: bytes) -> None:
    head = ResponseHead(200, [(b"content-type", b"text/event-stream"), (b"content-encoding", encoding)])
    with pytest.raises(UpstreamProtocolError, match="did not accept"):
        new_reader(CLAUDE, head, incoming((b"accept-encoding", b"identity")))


# --- verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "cooldown"),
    [(b"20", 20.0), (b"0.5", 0.5), (b"-3", 0.0), (b"junk", 10.0), (b"nan", 10.0), (b"1e9", 1e9),
     (b"Thu, 01 Jan 1970 00:02:00 GMT", 20.0), (b"", 10.0), (None, 10.0)],
)  # fmt: skip
def test_a_429_cools_the_account_for_what_it_asks(retry_after: bytes | None, cooldown: float) -> None:
    headers = [] if retry_after is None else [(b"retry-after", retry_after)]
    verdict = CLAUDE.judge(ResponseHead(429, headers), b"", now=100.0)
    assert verdict.is_retryable
    assert verdict.cooldown_seconds == cooldown
    assert isinstance(verdict.error, UpstreamRateLimited)


def test_a_refused_credential_disables_the_account_and_its_text_is_kept_from_the_client() -> None:
    verdict = CLAUDE.judge(ResponseHead(401, []), b"your key sk-account", now=0)
    assert (verdict.is_credential_refused, verdict.is_retryable, verdict.is_passed_through) == (True, True, False)
    assert isinstance(verdict.error, UpstreamRefused)


@pytest.mark.parametrize("status", [301, 302, 307, 403])
def test_a_redirect_or_a_403_is_hidden_and_struck(status: int) -> None:
    verdict = CLAUDE.judge(ResponseHead(status, []), b"", now=0)
    assert (verdict.is_strike, verdict.is_credential_refused) == (True, False)
    assert (verdict.is_retryable, verdict.is_passed_through) == (True, False)


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_the_clients_own_mistake_is_passed_on_and_harms_no_account(status: int) -> None:
    verdict = CLAUDE.judge(ResponseHead(status, []), b"", now=0)
    assert (verdict.is_strike, verdict.is_credential_refused, verdict.is_retryable, verdict.is_passed_through) == (
        False,
        False,
        False,
        True,
    )
    assert verdict.cooldown_seconds is None


@pytest.mark.parametrize("status", [500, 502, 504, 599])
def test_a_server_error_is_struck_and_tried_elsewhere(status: int) -> None:
    verdict = CLAUDE.judge(ResponseHead(status, []), b"", now=0)
    assert (verdict.is_strike, verdict.is_retryable) == (True, True)


def test_the_upstreams_request_id_is_in_its_header() -> None:
    assert CLAUDE.request_id(ResponseHead(200, [(b"request-id", b"req_011C")])) == "req_011C"
    assert CLAUDE.request_id(ResponseHead(200, [])) == ""


@pytest.mark.parametrize(
    ("message", "is_the_accounts"),
    [
        ("Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.", True),
        ("This organization has been disabled.", True),
        ("You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.", True),
        ("Your credit balance is too low: Extra inputs are not permitted", False),
        ("max_tokens: Field required", False),
    ],
)
def test_a_400_about_the_accounts_money_is_tried_elsewhere(message: str, is_the_accounts: bool) -> None:
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}}).encode()
    verdict = CLAUDE.judge(ResponseHead(400, []), body, 0)
    assert verdict.is_retryable is is_the_accounts
    assert verdict.is_passed_through is not is_the_accounts
    assert (verdict.cooldown_seconds is not None) is is_the_accounts


@pytest.mark.parametrize(
    ("until", "now", "seconds", "is_dated"),
    [
        ("2026-12-01 at 06:30 UTC", "2026-12-01T00:00:00+00:00", 6.5 * 3600, True),
        ("2026-12-01", "2026-11-30T23:00:00+00:00", 3600.0, True),
        ("2026-12-01", "2026-12-02T00:00:00+00:00", 300.0, False),
        ("2026-13-71", "2026-11-30T23:00:00+00:00", 300.0, False),
        ("2026-12-01 at 99:99 UTC", "2026-11-30T23:00:00+00:00", 300.0, False),
    ],
)
def test_at_a_usage_limit_an_account_rests_until_the_stated_date(
    until: str, now: str, seconds: float, is_dated: bool
) -> None:
    message = f"You have reached your specified workspace API usage limits. You will regain access on {until}."
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": message}}).encode()
    verdict = CLAUDE.judge(ResponseHead(400, []), body, datetime.fromisoformat(now).timestamp())
    assert (verdict.cooldown_seconds, verdict.is_dated) == (seconds, is_dated)
    assert (verdict.is_retryable, verdict.is_passed_through, verdict.is_strike) == (True, False, False)
