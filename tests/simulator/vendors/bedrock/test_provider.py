"""Routes, authentication and errors over a raw socket; ``test_bedrock_clients`` has official clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from relay_trio.simulator import SimulatorSettings, Usage, open_simulator, text_of
from relay_trio.simulator.vendors.bedrock.provider import plain_name
from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS, BedrockSettings
from relay_trio.simulator.vendors.bedrock.sigv4 import AccessKey
from tests.simulator.conftest import connect
from tests.simulator.vendors.bedrock.asking import CLAUDE, CONVERSE, KEY, ask, chunks, events, target

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.simulator import Simulator
    from tests.simulator.conftest import Answer, SimulatorClient

ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"


def error_type(answer: Answer) -> str:
    return (answer.header(b"x-amzn-errortype") or b"").decode().partition(":")[0]


def count_headers(answer: Answer) -> dict[str, str]:
    prefix = b"x-amzn-bedrock-"
    return {
        name.removeprefix(prefix).decode(): value.decode()
        for name, value in answer.headers
        if name.startswith(prefix) and name.endswith(b"-token-count")
    }


# --- routes -------------------------------------------------------------------------------------------------------


async def test_an_invocation_streams_claudes_events(client: SimulatorClient, simulator: Simulator) -> None:
    answer = await ask(client, "invoke-with-response-stream", "chunks=7,input=3,cache_read=20,cache_creation=10")
    assert (answer.status, answer.ended) == (200, "whole")
    assert answer.header(b"content-type") == b"application/vnd.amazon.eventstream"
    assert answer.header(b"x-amzn-bedrock-content-type") == b"application/json"
    documents = chunks(answer.body)
    text = "".join(d["delta"]["text"] for d in documents if d["type"] == "content_block_delta")
    assert text == text_of(7)
    assert documents[0]["message"]["model"] == "claude-sim"
    assert documents[0]["message"]["id"].startswith("msg_bdrk_")
    record = simulator.truth.last
    assert (answer.header(b"x-amzn-requestid") or b"").decode() == record.request_id
    assert (record.credential, record.usage, record.is_stream) == (KEY, Usage(3, 7, 10, 20), True)
    assert (record.is_finished, record.tokens_generated, record.status) == (True, 7, 200)


async def test_an_invocation_tells_its_tokens_in_headers_too(client: SimulatorClient, simulator: Simulator) -> None:
    answer = await ask(client, "invoke", "chunks=7,input=3,cache_read=20,cache_creation=10")
    body = answer.json()
    assert body["content"] == [{"type": "text", "text": text_of(7)}]
    assert count_headers(answer) == {
        "input-token-count": "3",
        "output-token-count": "7",
        "cache-read-input-token-count": "20",
        "cache-write-input-token-count": "10",
    }
    assert simulator.truth.last.usage == Usage(3, 7, 10, 20)
    assert body["usage"]["cache_read_input_tokens"] == 20
    assert count_headers(await ask(client, "invoke", "usage=missing")) == {}


async def test_a_conversation_streams_and_comes_whole_with_one_text_and_usage(
    client: SimulatorClient, simulator: Simulator
) -> None:
    spec = "chunks=7,input=3,cache_read=20,cache_creation=10"
    answer = await ask(client, "converse-stream", spec)
    assert answer.header(b"content-type") == b"application/vnd.amazon.eventstream"
    found = events(answer.body)
    text = "".join(document["delta"]["text"] for kind, document in found if kind == "contentBlockDelta")
    streamed = simulator.truth.last.usage
    whole = (await ask(client, "converse", spec)).json()
    assert whole["output"]["message"]["content"] == [{"text": text}] == [{"text": text_of(7)}]
    assert whole["usage"] == found[-1][1]["usage"]
    assert streamed == simulator.truth.last.usage == Usage(3, 7, 10, 20)
    assert simulator.truth.last.is_finished


@pytest.mark.parametrize("verb", ["converse", "converse-stream", "invoke", "invoke-with-response-stream"])
async def test_max_tokens_bounds_the_answer(client: SimulatorClient, simulator: Simulator, verb: str) -> None:
    limited = {**CONVERSE, "inferenceConfig": {"maxTokens": 3}} if "conv" in verb else {**CLAUDE, "max_tokens": 3}
    assert (await ask(client, verb, "chunks=50", limited)).status == 200
    assert simulator.truth.last.output_tokens == 3


async def test_tokens_are_counted_as_the_answer_counts_them(client: SimulatorClient, simulator: Simulator) -> None:
    counted = await ask(client, "count-tokens", "", {"input": {"converse": CONVERSE}})
    assert counted.json() == {"inputTokens": 6}
    assert simulator.truth.last.usage is None
    assert (await ask(client, "count-tokens", "input=99", {"input": {"converse": CONVERSE}})).json() == {
        "inputTokens": 99
    }
    await ask(client, "converse")
    assert simulator.truth.last.input_tokens == 6


async def test_a_cache_point_writes_once_and_is_read_then(client: SimulatorClient, simulator: Simulator) -> None:
    document = {**CONVERSE, "system": [{"text": "a long system prompt"}, {"cachePoint": {"type": "default"}}]}
    seen = []
    for verb in ("converse", "converse-stream"):
        await ask(client, verb, "", document)
        seen.append((simulator.truth.last.cache_creation_tokens, simulator.truth.last.cache_read_tokens))
    assert seen == [(7, 0), (0, 7)]


async def test_inference_profiles_are_listed_by_pages(client: SimulatorClient) -> None:
    async def page(query: str) -> Any:
        extra = f"authorization: Bearer {KEY}\r\n"
        return (await client.ask(method="GET", target=f"/inference-profiles{query}", extra=extra)).json()

    everything = (await page("?type=SYSTEM_DEFINED"))["inferenceProfileSummaries"]
    assert len(everything) == 9
    assert "us.anthropic.claude-sim-v1:0" in {profile["inferenceProfileId"] for profile in everything}
    first = await page("?type=SYSTEM_DEFINED&maxResults=5")
    second = await page(f"?type=SYSTEM_DEFINED&maxResults=5&nextToken={first['nextToken']}")
    assert first["inferenceProfileSummaries"] + second["inferenceProfileSummaries"] == everything
    assert "nextToken" not in second
    assert await page("?type=APPLICATION") == {"inferenceProfileSummaries": []}
    assert "type" in (await page("?type=OTHER"))["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", target("invoke")), ("POST", "/model/m/dance"), ("POST", "/model/m"), ("POST", "/inference-profiles")],
)
async def test_what_is_no_operation_is_not_found(client: SimulatorClient, method: str, path: str) -> None:
    answer = await client.ask({}, method=method, target=path, extra=f"authorization: Bearer {KEY}\r\n")
    assert (answer.status, error_type(answer)) == (404, "UnknownOperationException")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-sim", "claude-sim"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/global.anthropic.claude-sim-v1:0", "claude-sim"),
    ],
)
def test_a_model_id_holds_a_plain_name(model: str, name: str) -> None:
    assert plain_name(model) == name


async def test_only_known_models_are_served_when_told_so() -> None:
    async with open_simulator(SimulatorSettings(accepts_unknown_models=False)) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            for model, status in (("us.anthropic.claude-sim-v1:0", 200), ("claude-sim", 200), ("claude-nope", 400)):
                answer = await ask(raw, "converse", target=target("converse", "chunks=1", model))
                assert answer.status == status
        assert answer.json() == {"message": "The provided model identifier is invalid."}


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
        (418, "ValidationException"),
        (529, "InternalServerException"),
    ],
)
async def test_a_status_is_named_in_the_header(
    client: SimulatorClient, simulator: Simulator, status: int, kind: str
) -> None:
    for verb in ("invoke", "converse-stream"):
        answer = await ask(client, verb, f"fault={status}")
        assert (answer.status, answer.ended, error_type(answer)) == (status, "whole", kind)
        assert answer.json() == {"message": f"simulated {status}"}
        assert simulator.truth.last.usage is None


async def test_an_error_can_have_another_name_and_a_retry_after(client: SimulatorClient) -> None:
    answer = await ask(client, "invoke", "fault=429:none/ModelNotReadyException")
    assert (error_type(answer), answer.header(b"retry-after")) == ("ModelNotReadyException", None)
    answer = await ask(client, "invoke", "fault=400:/ServiceQuotaExceededException")
    assert (answer.status, error_type(answer)) == (400, "ServiceQuotaExceededException")
    assert (await ask(client, "invoke", "fault=503:7")).header(b"retry-after") == b"7"
    answer = await ask(client, "invoke", "fault=302")
    assert (answer.status, answer.header(b"location")) == (302, b"http://127.0.0.1:9/elsewhere")


@pytest.mark.parametrize("status", [400, 404, 424, 429, 503])
async def test_errors_are_laid_out_as_the_corpus_has_them(client: SimulatorClient, corpus: Path, status: int) -> None:
    expected = json.loads((corpus / "errors" / f"bedrock-{status}.json").read_text())
    answer = await ask(client, "invoke", f"fault={status}")
    assert (answer.header(b"x-amzn-errortype") or b"").decode() == expected["headers"]["x-amzn-errortype"]
    assert {name.decode() for name, _ in answer.headers} >= set(expected["headers"])
    assert answer.json().keys() == expected["body"].keys()


@pytest.mark.parametrize(
    ("verb", "document", "says"),
    [
        ("invoke", [], "Malformed input request"),
        ("invoke", {**CLAUDE, "model": "m"}, "extraneous key [model]"),
        ("invoke", {**CLAUDE, "max_tokens": 0}, "max_tokens"),
        ("invoke-with-response-stream", {**CLAUDE, "stream": True}, "extraneous key [stream]"),
        ("converse", {"messages": []}, "messages"),
        ("converse-stream", [], "JSON"),
        ("count-tokens", {}, "input"),
    ],
)
async def test_a_bad_request_is_a_validation_exception(
    client: SimulatorClient, verb: str, document: object, says: str
) -> None:
    answer = await ask(client, verb, "", document)
    assert (answer.status, error_type(answer)) == (400, "ValidationException")
    assert says in answer.json()["message"]


async def test_a_spec_that_cannot_be_read_is_told_in_bedrocks_words(client: SimulatorClient) -> None:
    answer = await ask(client, "converse", "chunks=many")
    assert (answer.status, error_type(answer)) == (400, "ValidationException")
    assert "chunks=many: expected a whole number" in answer.json()["message"]


async def test_a_body_above_the_limit_is_answered_before_it_was_read() -> None:
    async with open_simulator(SimulatorSettings(max_body_bytes=1000)) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            answer = await ask(raw, "invoke", "", {"padding": "x" * 5000})
    assert (answer.status, error_type(answer)) == (413, "RequestEntityTooLargeException")


# --- authentication -----------------------------------------------------------------------------------------------


def signature(simulator: Simulator, path: str, body: bytes, *, key_id: str, key: AccessKey, region: str) -> str:
    """The header lines that AWS's signer adds."""
    request = AWSRequest("POST", f"{simulator.base_url}{path}", headers={"host": "x"}, data=body)
    SigV4Auth(Credentials(key_id, key.secret, key.session_token), "bedrock", region).add_auth(request)
    return "".join(f"{name}: {value}\r\n" for name, value in request.headers.items() if name.lower() != "host")


async def signed(simulator: Simulator, key_id: str, key: AccessKey, region: str = "us-east-1") -> Answer:
    path = target("converse", "chunks=1")
    extra = signature(simulator, path, json.dumps(CONVERSE).encode(), key_id=key_id, key=key, region=region)
    raw = await connect(simulator)
    async with raw.stream:
        return await ask(raw, "converse", target=path, extra=extra)


@pytest.mark.parametrize("key_id", list(ACCESS_KEYS))
async def test_the_default_access_keys_sign(simulator: Simulator, key_id: str) -> None:
    simulator.plan_account(key_id, "tokens=3")
    assert (await signed(simulator, key_id, ACCESS_KEYS[key_id])).status == 200
    assert (simulator.truth.last.credential, simulator.truth.last.output_tokens) == (key_id, 3)


@pytest.mark.parametrize(
    ("key_id", "key", "kind"),
    [
        (ACCESS_KEY_ID, AccessKey("another secret"), "InvalidSignatureException"),
        ("AKIANOBODY", ACCESS_KEYS[ACCESS_KEY_ID], "UnrecognizedClientException"),
        ("ASIAIOSFODNN7EXAMPLE", ACCESS_KEYS[ACCESS_KEY_ID], "UnrecognizedClientException"),
    ],
)
async def test_a_wrong_signature_is_refused(simulator: Simulator, key_id: str, key: AccessKey, kind: str) -> None:
    answer = await signed(simulator, key_id, key)
    assert (answer.status, error_type(answer)) == (403, kind)
    assert answer.json()["message"]
    assert simulator.truth.last.usage is None


async def test_a_region_and_keys_of_ones_own_can_be_set() -> None:
    keys = {"AKIAMINE": AccessKey("mine"), "ASIAOLD": AccessKey("old", "token", expires_at=0.0)}
    own = BedrockSettings(access_keys=keys, region="eu-west-1")
    settings = SimulatorSettings(vendors=(own,), accepted_keys=frozenset({KEY}))
    async with open_simulator(settings) as simulator:
        assert (await signed(simulator, "AKIAMINE", keys["AKIAMINE"], "eu-west-1")).status == 200
        answer = await signed(simulator, "AKIAMINE", keys["AKIAMINE"])
        assert (error_type(answer), "us-east-1" in answer.json()["message"]) == ("InvalidSignatureException", True)
        assert error_type(await signed(simulator, "ASIAOLD", keys["ASIAOLD"], "eu-west-1")) == "ExpiredTokenException"
        answer = await signed(simulator, ACCESS_KEY_ID, ACCESS_KEYS[ACCESS_KEY_ID], "eu-west-1")
        assert error_type(answer) == "UnrecognizedClientException"
        raw = await connect(simulator)
        async with raw.stream:
            assert (await ask(raw, "converse")).status == 200
            answer = await ask(raw, "converse", extra="authorization: Bearer other\r\n")
            assert (answer.status, error_type(answer)) == (403, "AccessDeniedException")


async def test_a_request_without_credentials_misses_its_token(client: SimulatorClient) -> None:
    """The ``x-api-key`` that the raw client always sends is none of Bedrock's."""
    answer = await ask(client, "invoke", extra="")
    assert (answer.status, error_type(answer)) == (403, "MissingAuthenticationTokenException")
    assert answer.json() == {"message": "Missing Authentication Token"}
    answer = await ask(client, "invoke", extra="authorization: AWS4-HMAC-SHA256 Credential=a\r\n")
    assert (answer.status, error_type(answer)) == (403, "IncompleteSignatureException")
