"""Claude's clients count tokens at Bedrock: the message goes as an invocation, and the count has Anthropic's name."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.credential import Credential
from relay_trio.usage import NO_USAGE
from relay_trio.vendors.registry import PROVIDERS
from relay_trio.vendors.translations.claude_bedrock_count import ClaudeCountOnBedrock, CountReader
from tests.support import bedrock_scripts
from tests.support.accounts import account_settings
from tests.support.cuts import cuts
from tests.support.memory_harness import open_harness

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.memory_harness import UpstreamSide

ACCOUNT = account_settings("bedrock", region="eu-central-1", api_key="k", model_ids={"m": "eu.anthropic.m-v1:0"})


def checked(document: dict[str, Any], model: str, *headers: tuple[bytes, bytes]) -> CheckedRequest:
    body = json.dumps({"model": model, **document}).encode()
    return CheckedRequest("claude.count_tokens", "POST", b"/v1/messages/count_tokens", b"", list(headers), body, model)


def test_the_message_is_an_invocation_inside_of_the_request() -> None:
    call = PROVIDERS["bedrock"].calls["claude.count_tokens"]
    sent = checked({"messages": [], "output_config": {}}, "m", (b"anthropic-beta", b"new-1"))
    request = call.request(ACCOUNT, sent, Credential("k"))
    assert request.target == b"/model/anthropic.m-v1%3A0/count-tokens"
    invocation = b64decode(json.loads(request.body)["input"]["invokeModel"]["body"])
    assert json.loads(invocation) == {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1, "messages": []}
    assert request.dropped == ("output_config", "beta:new-1")


def test_a_limit_of_the_clients_own_stays() -> None:
    request = ClaudeCountOnBedrock().request(ACCOUNT, checked({"max_tokens": 7}, "m"), Credential("k"))
    assert b'"max_tokens": 7' in b64decode(json.loads(request.body)["input"]["invokeModel"]["body"])


@pytest.mark.parametrize(
    ("model", "counted"),
    [
        ("anthropic.x-v1:0", "anthropic.x-v1%3A0"),
        ("us-gov.anthropic.x", "anthropic.x"),
        ("global.anthropic.x", "anthropic.x"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.x", "anthropic.x"),
        ("arn:aws:bedrock:eu-west-1::foundation-model/anthropic.x", "anthropic.x"),
        (
            "arn:aws:bedrock:e:1:application-inference-profile/x",
            "arn%3Aaws%3Abedrock%3Ae%3A1%3Aapplication-inference-profile%2Fx",
        ),
    ],
)
def test_bedrock_counts_by_the_models_own_id(model: str, counted: str) -> None:
    request = ClaudeCountOnBedrock().request(ACCOUNT, checked({}, model), Credential("k"))
    assert request.target == f"/model/{counted}/count-tokens".encode()


def test_the_count_comes_once_and_by_its_name_there() -> None:
    for pieces in cuts(b'{"inputTokens": 21}\n', drawn=20):
        reader = CountReader()
        assert b"".join(map(reader.feed, pieces)) == b'{"input_tokens":21}'
        assert reader.is_complete
        assert reader.finish() is NO_USAGE


@pytest.mark.parametrize("body", [b"{}", b'{"inputTokens":-1}', b'{"inputTokens":"x"}', b"x" * 70_000])
def test_an_answer_without_a_count_is_the_upstreams_mistake(body: bytes) -> None:
    reader = CountReader()
    assert reader.feed(body) == reader.feed(body) == b""
    assert reader.error is not None
    assert not reader.is_complete


async def test_a_client_gets_its_count_through_the_relay(autojump_clock: MockClock) -> None:
    async def counts(side: UpstreamSide) -> None:
        head = await side.request()
        assert head.startswith(b"POST /model/anthropic.m-v1%3A0/count-tokens HTTP/1.1\r\n")
        body = b'{"inputTokens":21}'
        await side.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body
        )

    async with open_harness(counts, **bedrock_scripts.ACCOUNTS) as harness:
        client = await harness.serve(harness.request(b'{"model":"m","messages":[]}', path="/v1/messages/count_tokens"))
        assert (client.status, client.body) == (200, b'{"input_tokens":21}')
        (row,) = harness.rows
        assert (row.route, row.provider, row.usage) == ("claude.count_tokens", "bedrock", NO_USAGE)
