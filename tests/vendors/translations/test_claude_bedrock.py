"""Claude's clients served by Bedrock: bodies rewritten member by member, frames turned into events, errors renamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.credential import Credential
from relay_trio.api.position import Form
from relay_trio.api.sse_reader import SseReader
from relay_trio.errors import BadRequest, UpstreamErrorEvent, UpstreamProtocolError, UpstreamRateLimited
from relay_trio.usage import NO_USAGE, UsageSource, UsageStats
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.vendors.bedrock.signing import AwsKeys
from relay_trio.vendors.claude.stream import ClaudeFold
from relay_trio.vendors.registry import PROVIDERS
from relay_trio.vendors.translations.claude_bedrock import SseTranslator, invoke_target, translated_error
from relay_trio.vendors.translations.claude_bedrock import invoke_body as bridged_body
from relay_trio.wire.sse import EventBlocks, parse_block
from tests.support.accounts import account_settings
from tests.support.bedrock_frames import CLAUDE, CLAUDE_EVENTS, chunk, event, exception
from tests.support.cuts import cuts
from tests.support.recordings import tokens
from tests.support.sse import sse_events

if TYPE_CHECKING:
    from tests.support.recordings import Recording


def checked(
    body: bytes | dict[str, Any], *headers: tuple[bytes, bytes], model: str = "m", stream: bool = True
) -> CheckedRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CheckedRequest("claude.messages", "POST", b"/v1/messages", b"", list(headers), content, model, stream)


ACCOUNT = account_settings("bedrock", region="eu-central-1", pass_capabilities=["*"])
"""It takes everything."""


def invoke_body(incoming: CheckedRequest) -> bytes:
    return bridged_body(ACCOUNT, incoming)[0]


# --- the request --------------------------------------------------------------------------------------------------


def test_model_and_stream_go_out_version_and_betas_come_in() -> None:
    body = {"model": "m", "max_tokens": 9, "stream": True, "messages": []}
    incoming = checked(
        body, (b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a-1, b-2,,oauth-2025-04-20,a-1")
    )
    assert json.loads(invoke_body(incoming)) == {
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["a-1", "b-2", "oauth-2025-04-20"],
        "max_tokens": 9,
        "messages": [],
    }


def test_a_later_version_keeps_its_name_and_none_is_the_first() -> None:
    later = invoke_body(checked({"model": "m"}, (b"anthropic-version", b"2026-10-21")))
    assert json.loads(later) == {"anthropic_version": "2026-10-21"}
    assert json.loads(invoke_body(checked({"model": "m"}))) == {"anthropic_version": "bedrock-2023-05-31"}


def test_what_the_body_says_itself_goes_before_the_headers() -> None:
    body = {"model": "m", "anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["x"]}
    built = invoke_body(checked(body, (b"anthropic-version", b"2026-10-21"), (b"anthropic-beta", b"y")))
    assert json.loads(built) == {"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["x"]}


def test_every_other_member_is_the_text_that_it_was() -> None:
    """Numbers of any length and spelling, escapes, white space and order."""
    kept = [
        b'"temperature" : 1.10',
        b'"big": ' + b"9" * 5000,
        b'"small":1E-400',
        b'"t":"\\ud83d\\ude00 \\/ \\u0041 \xc3\xa9"',
        b'"messages": [ {"role" :"user","model":"n", "stream":true} ]',
        b'"mod\\u0065ls":null',
    ]
    body = b' \n{ "stream":true ,' + b" ,\t".join(kept[:3]) + b', "model": "m",' + b" , ".join(kept[3:]) + b" }\r\n "
    assert invoke_body(checked(body)) == b'{"anthropic_version":"bedrock-2023-05-31",' + b",".join(kept) + b"}"


def test_an_escaped_name_is_the_name_it_stands_for() -> None:
    assert json.loads(invoke_body(checked(b'{"mod\\u0065l":"m"}'))) == {"anthropic_version": "bedrock-2023-05-31"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), _JSON, max_size=6), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_any_object_loses_and_gains_only_those_members(body: dict[str, Any], indent: Any, is_ascii: bool) -> None:
    text = json.dumps({**body, "model": "m"}, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "replace")
    built = json.loads(invoke_body(checked(text)))
    version = body.get("anthropic_version", "bedrock-2023-05-31")
    expected = {name: value for name, value in json.loads(text).items() if name not in ("model", "stream")}
    assert built == {**expected, "anthropic_version": version}


@pytest.mark.parametrize(
    "sent",
    [
        (b"anthropic-version", b'2023"'),
        (b"anthropic-version", b"x" * 41),
        (b"anthropic-beta", b'a","b'),
        (b"anthropic-beta", b"\xff"),
    ],
)
def test_a_header_that_cannot_go_into_a_body_is_the_clients_mistake(sent: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadRequest):
        invoke_body(checked({"model": "m"}, sent))


@pytest.mark.parametrize(
    ("model", "stream", "target"),
    [
        ("claude-x", True, b"/model/eu.anthropic.claude-x-v1%3A0/invoke-with-response-stream"),
        ("claude-x", False, b"/model/eu.anthropic.claude-x-v1%3A0/invoke"),
        ("claude-x[1m]", False, b"/model/eu.anthropic.claude-x-v1%3A0/invoke"),
        ("us.anthropic.y-v1:0", False, b"/model/us.anthropic.y-v1%3A0/invoke"),
        ("arn:aws:x:y::inference-profile/z", False, b"/model/arn%3Aaws%3Ax%3Ay%3A%3Ainference-profile%2Fz/invoke"),
    ],
)
def test_a_model_goes_by_the_accounts_name_for_it(model: str, stream: bool, target: bytes) -> None:
    account = BedrockSettings.model_validate(
        {
            "name": "a", "provider": "bedrock", "max_concurrency": 1, "region": "eu-central-1",
            "model_ids": {"claude-x": "eu.anthropic.claude-x-v1:0"},
        }
    )  # fmt: skip
    assert invoke_target(account, checked({}, model=model, stream=stream)) == target


def test_what_bedrock_does_not_know_is_named_and_stays_behind() -> None:
    account = account_settings("bedrock", region="eu-central-1")
    sent = checked({"model": "m", "output_config": {"effort": "low"}}, (b"anthropic-beta", b"effort-2025-11-24,new-1"))
    body, dropped = bridged_body(account, sent)
    assert json.loads(body) == {"anthropic_version": "bedrock-2023-05-31"}
    assert dropped == ("output_config", "beta:new-1")


def test_betas_of_the_body_are_held_to_the_same_table() -> None:
    account = account_settings("bedrock", region="eu-central-1")
    body, dropped = bridged_body(account, checked({"anthropic_beta": ["new-1", "context-1m-2025-08-07"]}))
    assert json.loads(body)["anthropic_beta"] == ["context-1m-2025-08-07"]
    assert dropped == ("beta:new-1",)
    with pytest.raises(BadRequest, match="list of betas"):
        bridged_body(account, checked({"anthropic_beta": "new-1"}))


def test_the_suffix_of_the_long_context_is_a_beta_at_bedrock() -> None:
    account = account_settings("bedrock", region="eu-central-1")
    body, _ = bridged_body(account, checked({}, model="anthropic.claude-opus-4-6-v1[1m]"))
    assert json.loads(body)["anthropic_beta"] == ["context-1m-2025-08-07"]


def test_where_an_answer_is_made_is_the_accounts_to_say_so_a_request_for_another_place_is_refused() -> None:
    with pytest.raises(BadRequest, match="inference_geo"):
        invoke_body(checked({"inference_geo": "us"}))


def test_what_constrains_an_answer_reaches_the_call_and_is_signed() -> None:
    """A guardrail that was left out would be bypassed without a word."""
    account = account_settings("bedrock", region="eu-central-1", access_key_id="AKIA", secret_access_key="s")
    constraints = [
        (b"x-amzn-bedrock-guardrailidentifier", b"gr-1"),
        (b"x-amzn-bedrock-guardrailversion", b"DRAFT"),
        (b"x-amzn-bedrock-trace", b"ENABLED"),
        (b"x-amzn-bedrock-performanceconfig-latency", b"optimized"),
        (b"x-amzn-bedrock-service-tier", b"flex"),
    ]
    call = PROVIDERS["bedrock"].calls["claude.messages"]
    credential = Credential(AwsKeys("AKIA", "s"))
    incoming = checked({}, *constraints, (b"x-amzn-bedrock-accept", b"text/plain"), model="anthropic.m")
    headers = dict(call.request(account, incoming, credential).headers)
    assert {name: headers[name] for name, _ in constraints} == dict(constraints)
    assert b"x-amzn-bedrock-accept" not in headers
    assert b"x-amzn-bedrock-guardrailidentifier;x-amzn-bedrock-guardrailversion" in headers[b"authorization"]
    with pytest.raises(BadRequest):
        call.request(account, checked({}, (b"x-amzn-bedrock-trace", b"\xff"), model="anthropic.m"), credential)


# --- the stream ---------------------------------------------------------------------------------------------------


def events_of(stream: bytes) -> list[tuple[str, Any]]:
    """Names and data as an SDK reads them; nothing may be left over."""
    blocks = EventBlocks()
    found = [parse_block(block) for block in blocks.feed(stream)]
    assert not blocks.tail
    return [(event.event, json.loads(event.data)) for event in found if event is not None]


def fed(*pieces: bytes) -> tuple[SseTranslator, bytes]:
    translator = SseTranslator()
    return translator, b"".join(map(translator.feed, pieces))


def test_frames_become_the_events_that_claude_itself_sends() -> None:
    expected = [(data["type"], {k: v for k, v in data.items() if not k.startswith("amazon")}) for data in CLAUDE_EVENTS]
    for pieces in cuts(b"".join(CLAUDE), drawn=20):
        translator, stream = fed(*pieces)
        assert events_of(stream) == expected
        assert stream.count(b"event: ") == len(expected)
        assert translator.finish() == UsageStats(10, 7, source=UsageSource.EXACT)
        assert translator.is_complete
        assert translator.position.form is Form.EVENTS


def test_a_delta_is_the_bytes_that_the_model_wrote() -> None:
    text = '{"type":"content_block_delta","index":0,"delta":{"text":"\\u00e9é 1.10"}}'.encode()
    assert fed(chunk(text))[1] == b"event: content_block_delta\ndata: " + text + b"\n\n"


def test_an_event_on_several_lines_becomes_one() -> None:
    _, stream = fed(chunk(b'{\n "type": "ping"\r\n}'), chunk(b"no\njson"))
    assert stream == b'event: ping\ndata: {"type":"ping"}\n\nevent: message\ndata: no json\n\n'


@pytest.mark.parametrize("name", ['"a\\nevent: error"', "7", "null", '"ä"', '""'])
def test_an_events_name_cannot_bring_a_line_of_its_own(name: str) -> None:
    _, stream = fed(chunk(b'{"x":1,"type":%s}' % name.encode()))
    assert stream.startswith(b"event: ")
    assert stream.count(b"\n") == 3


def test_every_recorded_stream_of_claude_is_translated_with_its_usage(recordings: list[Recording]) -> None:
    streams = [
        each
        for each in recordings
        if each.operation == "bedrock.invoke_stream" and each.ends == "complete" and "anthropic" in each.call.target
    ]
    assert len(streams) >= 4
    for recording in streams:
        for pieces in cuts(recording.body, drawn=4):
            translator, stream = fed(*pieces)
            assert tokens(translator.finish()) == recording.usage, recording.id
            assert translator.is_complete, recording.id
            assert b"amazon-bedrock" not in stream, recording.id
            native = SseReader(ClaudeFold())
            native.feed(stream)
            assert tokens(native.finish()) == recording.usage, recording.id
            assert native.is_complete, recording.id
            assert events_of(stream)[-1] == ("message_stop", {"type": "message_stop"}), recording.id


def test_no_stream_is_complete_before_its_last_byte() -> None:
    whole = b"".join(CLAUDE)
    for at in range(len(whole)):
        translator, stream = fed(whole[:at])
        assert not translator.is_complete
        assert b'"message_stop"}' not in stream
        events_of(stream)
    assert fed(whole, b"\0")[0].is_complete, "nothing that follows the last event matters"


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (exception("throttlingException"), UpstreamRateLimited),
        (exception("modelStreamErrorException"), UpstreamErrorEvent),
        (chunk({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}), UpstreamRateLimited),
        (event("chunk", {"p": "abc"}), UpstreamProtocolError),
        (b"\0" * 16, UpstreamProtocolError),
    ],
)
def test_after_an_error_nothing_more_comes_out_and_the_dialect_has_to_tell_it(
    frame: bytes, error: type[Exception]
) -> None:
    translator, stream = fed(*CLAUDE[:2], frame, *CLAUDE[2:])
    assert type(translator.error) is error
    assert [name for name, _ in events_of(stream)] == ["message_start", "content_block_start"]
    assert not translator.is_error_forwarded
    assert not translator.position.is_mid_event
    assert translator.finish().source is not UsageSource.EXACT


def test_an_event_of_another_kind_is_left_out() -> None:
    translator, stream = fed(event("somethingNew", {"a": 1}), CLAUDE[0])
    assert [name for name, _ in events_of(stream)] == ["message_start"]
    assert translator.error is None


def test_an_event_of_many_megabytes_is_translated() -> None:
    """An image that a tool gave, or what a tool is called with."""
    delta = {"type": "input_json_delta", "partial_json": "y" * 5_000_000}
    large = {"type": "content_block_delta", "index": 0, "delta": delta}
    wire = b"".join([*CLAUDE[:2], chunk(large), *CLAUDE[2:]])
    translator, stream = fed(*(wire[at : at + 65_536] for at in range(0, len(wire), 65_536)))
    assert translator.error is None
    assert translator.is_complete
    assert large in [json.loads(event.data) for event in sse_events(stream)]
    assert translator.finish().source is UsageSource.EXACT


@given(st.binary(max_size=300), st.integers(0, 6))
def test_no_bytes_make_it_raise(garbage: bytes, after: int) -> None:
    translator, stream = fed(*CLAUDE[:after], garbage, *CLAUDE)
    events_of(stream)
    assert translator.finish().total_tokens >= 0


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exception", "status", "expected", "kind"),
    [
        ("ValidationException", 400, 400, "invalid_request_error"),
        ("ThrottlingException", 429, 429, "rate_limit_error"),
        ("ModelNotReadyException", 429, 529, "overloaded_error"),
        ("ServiceUnavailableException", 503, 529, "overloaded_error"),
        ("ResourceNotFoundException", 404, 404, "not_found_error"),
        ("ModelTimeoutException", 408, 504, "timeout_error"),
        ("ModelErrorException", 424, 500, "api_error"),
        ("InternalServerException", 500, 500, "api_error"),
        ("", 429, 429, "rate_limit_error"),
        ("", 400, 400, "invalid_request_error"),
        ("", 502, 500, "api_error"),
    ],
)
def test_an_error_gets_the_status_and_type_that_anthropic_gives_it(
    exception: str, status: int, expected: int, kind: str
) -> None:
    answered, body = translated_error(exception, status, b'{"message": "why"}')
    assert answered == expected
    assert json.loads(body) == {"type": "error", "error": {"type": kind, "message": "why"}}


def test_a_model_that_was_overloaded_behind_bedrock_is_overloaded() -> None:
    status, body = translated_error("ModelErrorException", 424, b'{"message": "x", "originalStatusCode": 529}')
    assert (status, json.loads(body)["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": 7}', b'{"message": ""}', b"\xff"])
def test_an_error_without_a_message_has_one_all_the_same(body: bytes) -> None:
    _, envelope = translated_error("", 500, body)
    assert json.loads(envelope)["error"]["message"] == "the upstream answered 500"


def test_nothing_is_known_of_an_empty_stream() -> None:
    translator, stream = fed()
    assert (stream, translator.finish(), translator.is_complete) == (b"", NO_USAGE, False)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("The model returned the following errors: invalid beta flag", "beta"),
        ("context_management: Extra inputs are not permitted", "context_management"),
        ("tools.0.custom.defer_loading: Extra inputs are not permitted", "defer_loading"),
        ("Input is too long for requested model.", "prompt_too_long"),
        ("prompt is too long: 210000 tokens > 200000 maximum", "prompt_too_long"),
        ("tools.3: Input tag 'advisor_20260301' found using 'type' does not match", "advisor_20260301"),
        ("messages.1.content.0: Invalid `signature` in `thinking` block", "thinking_signature"),
        ("adaptive thinking is not supported on this model", "thinking"),
        ("max_tokens: must be at least 1", ""),
    ],
)
def test_a_translated_refusal_keeps_its_words_and_has_a_stable_token(words: str, what: str) -> None:
    status, body = translated_error("ValidationException", 400, json.dumps({"message": words}).encode())
    token = f" (capability_rejected: {what})" if what else ""
    assert (status, json.loads(body)["error"]["message"]) == (400, words + token)
