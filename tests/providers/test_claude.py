"""Claude: what goes upstream, what is metered, what is judged, what clients are told."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.chunks import NO_USAGE, UsageSource, UsageStats
from relay_trio.config import AccountSettings
from relay_trio.errors import (
    ErrorKind,
    NoUsableAccount,
    UpstreamError,
    UpstreamErrorEvent,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRefused,
)
from relay_trio.providers.base import Head, Incoming, UpstreamRequest
from relay_trio.providers.claude import Claude, ClaudeDialect, MessageMeter, StreamMeter
from tests.cuts import cuts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLAUDE = Claude()
SSE = Head(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
JSON = Head(200, [(b"content-type", b"application/json")])


def account(**changes: Any) -> AccountSettings:
    return AccountSettings.model_validate(
        {"name": "a", "provider": "anthropic", "api_key": "sk-secret", "max_concurrency": 1, **changes}
    )


def incoming(
    *headers: tuple[bytes, bytes], query: bytes = b"", path: bytes = b"/v1/messages", operation: str = "claude.messages"
) -> Incoming:
    return Incoming(operation, "POST", path, query, list(headers), b"{}", "m", True)


def build(settings: AccountSettings, asked: Incoming) -> UpstreamRequest:
    credential = CLAUDE.static_credential(settings)
    assert credential is not None
    return CLAUDE.build_request(settings, asked, credential)


# --- requests -----------------------------------------------------------------------------------------------------


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
    built = build(account(), sent)
    assert dict(built.headers) == {
        b"content-type": b"application/json",
        b"anthropic-version": b"2026-10-21",
        b"anthropic-beta": b"a-2025,b-2026",
        b"accept-encoding": b"identity",
        b"user-agent": built.headers[-2][1],
        b"x-api-key": b"sk-secret",
    }


def test_path_and_query_go_upstream_byte_for_byte_below_the_accounts_base() -> None:
    built = build(
        account(base_url="https://proxy.example:8443/base"), incoming(query=b"beta=true&x=%2F", path=b"/v1/a%2Fb")
    )
    assert (built.scheme, built.host, built.port) == ("https", "proxy.example", 8443)
    assert built.target == b"/base/v1/a%2Fb?beta=true&x=%2F"


def test_an_oauth_token_goes_as_bearer_with_its_beta_added_once() -> None:
    built = build(account(api_key="sk-ant-oat-1"), incoming((b"anthropic-beta", b"a")))
    assert (b"authorization", b"Bearer sk-ant-oat-1") in built.headers
    assert (b"anthropic-beta", b"a,oauth-2025-04-20") in built.headers
    assert not any(name == b"x-api-key" for name, _ in built.headers)


def test_only_encodings_that_can_be_metered_are_asked_for() -> None:
    asked = build(account(), incoming((b"accept-encoding", b"gzip, deflate, br, zstd")))
    assert (b"accept-encoding", b"gzip") in asked.headers


def test_only_listed_response_headers_reach_the_client() -> None:
    head = Head(
        200,
        [
            (b"content-type", b"text/event-stream"),
            (b"set-cookie", b"__cf_bm=1"),
            (b"server", b"x"),
            (b"via", b"x"),
            (b"request-id", b"req_theirs"),
            (b"anthropic-organization-id", b"org"),
            (b"anthropic-ratelimit-requests-remaining", b"9"),
            (b"transfer-encoding", b"chunked"),
        ],
    )
    assert CLAUDE.client_headers(head, incoming()) == [
        (b"content-type", b"text/event-stream"),
        (b"anthropic-ratelimit-requests-remaining", b"9"),
    ]


# --- metering -----------------------------------------------------------------------------------------------------


def recorded(corpus: Path, kind: str) -> Iterator[tuple[str, bytes, UsageStats | None]]:
    expected = json.loads((corpus / "expected_usage.json").read_text())["recordings"]
    for row in json.loads((corpus / "recordings" / "INDEX.json").read_text()):
        if row["name"].startswith("anthropic/") and row["kind"] == kind:
            body = (corpus / "recordings" / f"{row['name']}.body").read_bytes()
            if "content-encoding-gzip" in row["tags"]:
                body = gzip.decompress(body)
            yield row["name"], body, exact(expected[row["name"]])


def exact(expected: dict[str, int] | None) -> UsageStats | None:
    if expected is None:
        return None
    stats = UsageStats(
        expected["input"],
        expected["output"],
        expected["cache_creation"],
        expected["cache_read"],
        UsageSource.EXACT,
    )
    assert stats.total_tokens == expected["total"]
    return stats


def metered(meter: StreamMeter | MessageMeter, pieces: list[bytes]) -> UsageStats:
    for piece in pieces:
        meter.feed(piece)
    return meter.finish()


def test_every_recorded_stream_gives_its_usage_at_any_cut(corpus: Path) -> None:
    streams = list(recorded(corpus, "sse"))
    assert len(streams) >= 10
    for name, body, usage in streams:
        for pieces in cuts(body):
            meter = StreamMeter()
            assert metered(meter, pieces) == usage, name
            assert meter.is_complete, name
            assert not meter.is_mid_event, name


def test_every_recorded_message_gives_its_usage_at_any_cut(corpus: Path) -> None:
    messages = list(recorded(corpus, "json"))
    assert len(messages) >= 3
    for name, body, usage in messages:
        for pieces in cuts(body):
            assert metered(MessageMeter(), pieces) == (usage or NO_USAGE), name


def test_every_recorded_message_still_compressed_gives_its_usage(corpus: Path) -> None:
    for name, body, usage in recorded(corpus, "json"):
        for pieces in cuts(gzip.compress(body), drawn=3):
            head = Head(200, [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")])
            meter = CLAUDE.new_meter(head, incoming((b"accept-encoding", b"gzip")))
            for piece in pieces:
                meter.feed(piece)
            assert meter.finish() == (usage or NO_USAGE), name


def test_every_stream_of_other_test_suites_gives_its_usage(corpus: Path) -> None:
    expected = json.loads((corpus / "expected_usage.json").read_text())["fixtures"]
    names = [name for name in expected if name.startswith(("anthropic-sdk-fixtures/", "vercel-ai-fixtures/anthropic"))]
    assert len(names) >= 5
    for name in names:
        body = (corpus / name).read_bytes()
        if name.endswith(".chunks.txt"):
            body = b"".join(b"data: " + line + b"\n\n" for line in body.splitlines() if line.strip())
        if name.endswith(".json"):
            continue
        for pieces in cuts(body, drawn=3):
            usage = metered(StreamMeter(), pieces)
            want = exact(expected[name]["usage"])
            assert want is not None
            assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (
                want.input_tokens,
                want.output_tokens,
                want.total_tokens,
            ), name


def event(data: dict[str, object]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


START = event({"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}})
DELTA = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
STOP = event({"type": "message_stop"})


def test_a_later_figure_overwrites_even_when_it_is_lower_or_zero() -> None:
    late = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 0}})
    assert metered(StreamMeter(), [START, late]).input_tokens == 0


def test_a_null_figure_overwrites_nothing() -> None:
    late = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": None}})
    assert metered(StreamMeter(), [START, late]).input_tokens == 10


def test_a_stream_cut_before_its_final_usage_is_partial() -> None:
    meter = StreamMeter()
    assert metered(meter, [START, DELTA[:-20]]) == UsageStats(10, 1, source=UsageSource.PARTIAL)
    assert not meter.is_complete
    assert meter.is_mid_event


def test_a_stream_with_its_final_usage_is_exact_before_its_last_event() -> None:
    meter = StreamMeter()
    assert metered(meter, [START, DELTA]) == UsageStats(10, 7, source=UsageSource.EXACT)
    assert not meter.is_complete
    meter.feed(STOP)
    assert meter.is_complete


def test_a_stream_cut_before_its_first_event_has_no_usage() -> None:
    assert metered(StreamMeter(), [START[:30]]) == NO_USAGE


@pytest.mark.parametrize("figure", [-1, 1e300, "12", True, 2**60, [], {}])
def test_a_figure_that_is_no_count_makes_usage_unknown(figure: object) -> None:
    bad = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": figure}})
    assert metered(StreamMeter(), [START, bad, STOP]) == NO_USAGE


def test_a_number_of_five_thousand_digits_breaks_nothing() -> None:
    bad = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":' + b"9" * 5000 + b"}}\n\n"
    assert metered(StreamMeter(), [START, bad, STOP]).source is UsageSource.PARTIAL


def test_text_that_talks_about_usage_is_not_usage() -> None:
    said = {"type": "content_block_delta", "delta": {"text": '"message_delta" {"usage": {"output_tokens": 99}}'}}
    assert metered(StreamMeter(), [START, event(said), DELTA, STOP]).output_tokens == 7


def test_an_event_too_large_to_look_at_makes_usage_unknown_and_the_end_is_still_seen() -> None:
    meter = StreamMeter()
    huge = b"data: " + b"x" * (2 * 1024 * 1024) + b"\n\n"
    assert metered(meter, [START, huge, DELTA, STOP]) == NO_USAGE
    assert meter.is_complete


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", UpstreamRateLimited),
        ("rate_limit_error", UpstreamRateLimited),
        ("api_error", UpstreamErrorEvent),
    ],
)
def test_an_error_inside_the_stream_is_known_by_its_type(kind: str, error: type[UpstreamError]) -> None:
    meter = StreamMeter()
    metered(meter, [START, event({"type": "error", "error": {"type": kind, "message": "secret prompt"}})])
    assert type(meter.error) is error
    assert "secret" not in str(meter.error)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_make_a_meter_raise(garbage: bytes, at: int) -> None:
    stream = START + DELTA + STOP
    mixed = stream[:at] + garbage + stream[at:]
    for meter in (StreamMeter(), MessageMeter()):
        assert metered(meter, [mixed]).total_tokens >= 0


def test_a_gzip_bomb_is_looked_into_only_so_far() -> None:
    head = Head(200, [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")])
    meter = CLAUDE.new_meter(head, incoming((b"accept-encoding", b"gzip")))
    bomb = gzip.compress(bytes(100 * 1024 * 1024))
    meter.feed(bomb)
    assert meter.finish() == NO_USAGE


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_an_encoding_nobody_asked_for_is_refused(encoding: bytes) -> None:
    head = Head(200, [(b"content-type", b"application/json"), (b"content-encoding", encoding)])
    with pytest.raises(UpstreamProtocolError, match="not asked for"):
        CLAUDE.new_meter(head, incoming((b"accept-encoding", b"identity")))


# --- verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "cooldown"),
    [(b"20", 20.0), (b"0.5", 0.5), (b"-3", 0.0), (b"junk", 10.0), (b"nan", 10.0), (b"1e9", 1e9),
     (b"Thu, 01 Jan 1970 00:02:00 GMT", 20.0), (b"", 10.0), (None, 10.0)],
)  # fmt: skip
def test_a_429_cools_the_account_for_what_it_asks(retry_after: bytes | None, cooldown: float) -> None:
    headers = [] if retry_after is None else [(b"retry-after", retry_after)]
    verdict = CLAUDE.classify_error(Head(429, headers), b"", incoming(), now=100.0)
    assert verdict.retryable
    assert verdict.cooldown_seconds == cooldown
    assert isinstance(verdict.error, UpstreamRateLimited)


def test_a_refused_credential_disables_the_account_and_its_text_is_kept_from_the_client() -> None:
    verdict = CLAUDE.classify_error(Head(401, []), b"your key sk-secret", incoming(), now=0)
    assert (verdict.disable, verdict.retryable, verdict.is_passed_through) == (True, True, False)
    assert isinstance(verdict.error, UpstreamRefused)


@pytest.mark.parametrize("status", [301, 302, 307, 403])
def test_a_redirect_or_a_403_is_hidden_and_struck(status: int) -> None:
    verdict = CLAUDE.classify_error(Head(status, []), b"", incoming(), now=0)
    assert (verdict.strike, verdict.disable) == (True, False)
    assert (verdict.retryable, verdict.is_passed_through) == (True, False)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_the_clients_own_mistake_is_passed_on_and_harms_no_account(status: int) -> None:
    verdict = CLAUDE.classify_error(Head(status, []), b"", incoming(), now=0)
    assert (verdict.strike, verdict.disable, verdict.retryable, verdict.is_passed_through) == (
        False,
        False,
        False,
        True,
    )
    assert verdict.cooldown_seconds is None


@pytest.mark.parametrize("status", [500, 502, 504, 599])
def test_a_server_error_is_struck_and_tried_elsewhere(status: int) -> None:
    verdict = CLAUDE.classify_error(Head(status, []), b"", incoming(), now=0)
    assert (verdict.strike, verdict.retryable) == (True, True)


# --- what clients are told ----------------------------------------------------------------------------------------


def test_every_kind_of_error_has_a_status_and_an_envelope() -> None:
    dialect = ClaudeDialect()
    for kind in ErrorKind:
        error = type("E", (NoUsableAccount,), {"kind": kind})("why", retry_after=3600.2)
        status, headers, body = dialect.error_response(error, "req_1")
        assert 400 <= status < 600
        assert dict(headers)[b"retry-after"] == b"60"
        envelope = json.loads(body)
        assert envelope["error"]["message"] == "why"
        assert envelope["request_id"] == "req_1"


def test_the_upstreams_error_is_passed_on_with_our_request_id() -> None:
    theirs = json.dumps(
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "req_theirs"}
    ).encode()
    told = json.loads(ClaudeDialect().upstream_error_body(theirs, UpstreamError("x"), "req_ours"))
    assert told["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert told["request_id"] == "req_ours"


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"error": 1}', b"[" * 5000, b"\xff"])
def test_an_upstream_error_that_is_no_envelope_becomes_ours(body: bytes) -> None:
    told = json.loads(ClaudeDialect().upstream_error_body(body, UpstreamError("it failed"), "req_ours"))
    assert told["error"] == {"type": "api_error", "message": "it failed"}


def test_a_compressed_stream_has_no_place_for_an_error() -> None:
    """Plain text appended to a gzip body would be read as damage, not as an error event."""
    compressed = Head(200, [*SSE.headers, (b"content-encoding", b"gzip")])
    meter = CLAUDE.new_meter(compressed, incoming((b"accept-encoding", b"gzip")))
    assert ClaudeDialect().error_chunk(UpstreamError("it broke"), "req_1", meter) == b""


def test_an_error_in_the_middle_of_an_event_turns_that_event_into_the_error() -> None:
    from relay_trio.wire.sse import EventParser

    cut = b'event: content_block_delta\ndata: {"type":"content_bl'
    meter = CLAUDE.new_meter(SSE, incoming())
    assert meter.feed(cut) == cut
    chunk = ClaudeDialect().error_chunk(UpstreamError("it broke"), "req_1", meter)
    (told,) = EventParser().feed(cut + chunk)
    assert told.event == "error"
    assert "it broke" in told.data
