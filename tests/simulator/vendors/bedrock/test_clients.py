"""The official clients: boto3 and AnthropicBedrock, straight against the simulator."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import pytest
import trio
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from relay_trio.simulator import Usage, text_of, thinking_of
from relay_trio.simulator.vendors.bedrock.settings import ACCESS_KEYS
from tests.simulator.vendors.bedrock.asking import CLAUDE, CONVERSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.simulator import Simulator

pytestmark = pytest.mark.e2e

ASK: dict[str, Any] = {"max_tokens": 1000, "messages": CLAUDE["messages"]}
SPEC = "chunks=7,input=3,cache_read=20,cache_creation=10"
SERVED = Usage(3, 7, 10, 20)
MODELS = [
    "anthropic.claude-sim-v1:0",
    "us.anthropic.claude-sim-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sim-v1:0",
]
LASTING, TEMPORARY = ACCESS_KEYS


async def with_boto(
    simulator: Simulator, use: Callable[[Any], Any], *, key_id: str = LASTING, service: str = "bedrock-runtime"
) -> Any:
    """``use`` a client in a thread; it is blocking."""
    key = ACCESS_KEYS[key_id]

    def work() -> Any:
        client = boto3.client(
            service,
            endpoint_url=simulator.base_url,
            region_name="us-east-1",
            aws_access_key_id=key_id,
            aws_secret_access_key=key.secret,
            aws_session_token=key.session_token,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            return use(client)
        finally:
            client.close()

    return await trio.to_thread.run_sync(work)


async def with_anthropic(simulator: Simulator, use: Callable[[Any], Any], **credentials: str) -> Any:
    def work() -> Any:
        with anthropic.AnthropicBedrock(
            base_url=simulator.base_url, aws_region="us-east-1", max_retries=0, **credentials
        ) as sdk:
            return use(sdk)

    return await trio.to_thread.run_sync(work)


def chunked(body: Any) -> list[dict[str, Any]]:
    return [json.loads(event["chunk"]["bytes"]) for event in body]


# --- boto3 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
async def test_boto_invokes(simulator: Simulator, model: str) -> None:
    def use(client: Any) -> Any:
        answer = client.invoke_model(modelId=f"{model}:{SPEC}", body=json.dumps(CLAUDE))
        return json.loads(answer["body"].read()), answer["ResponseMetadata"]

    body, metadata = await with_boto(simulator, use)
    record = simulator.truth.by_id(metadata["RequestId"])
    assert body["content"][0]["text"] == text_of(7)
    assert body["usage"]["cache_creation_input_tokens"] == 10
    assert metadata["HTTPHeaders"]["x-amzn-bedrock-output-token-count"] == "7"
    assert (record.model, record.usage, record.credential) == (f"{model}:{SPEC}", SERVED, LASTING)


@pytest.mark.parametrize("key_id", list(ACCESS_KEYS))
async def test_boto_invokes_with_a_stream(simulator: Simulator, key_id: str) -> None:
    def use(client: Any) -> Any:
        answer = client.invoke_model_with_response_stream(modelId=f"{MODELS[0]}:{SPEC}", body=json.dumps(CLAUDE))
        assert answer["contentType"] == "application/json"
        return chunked(answer["body"])

    documents = await with_boto(simulator, use, key_id=key_id)
    text = "".join(d["delta"]["text"] for d in documents if d["type"] == "content_block_delta")
    metrics = documents[-1]["amazon-bedrock-invocationMetrics"]
    assert (text, metrics["outputTokenCount"], metrics["cacheReadInputTokenCount"]) == (text_of(7), 7, 20)
    assert (simulator.truth.last.usage, simulator.truth.last.is_finished) == (SERVED, True)


async def test_boto_converses(simulator: Simulator) -> None:
    def use(client: Any) -> Any:
        return client.converse(
            modelId=f"{MODELS[2]}:{SPEC}",
            system=[{"text": "be brief"}, {"cachePoint": {"type": "default"}}],
            inferenceConfig={"maxTokens": 100},
            **CONVERSE,
        )

    answer = await with_boto(simulator, use)
    assert answer["output"]["message"]["content"] == [{"text": text_of(7)}]
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"] == {
        "inputTokens": 3,
        "outputTokens": 7,
        "totalTokens": 40,
        "cacheReadInputTokens": 20,
        "cacheWriteInputTokens": 10,
    }
    assert simulator.truth.last.usage == SERVED


async def test_boto_converses_with_a_stream_of_thought_and_tools(simulator: Simulator) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}

    def use(client: Any) -> Any:
        answer = client.converse_stream(
            modelId=f"{MODELS[1]}:{SPEC},thinking=3",
            toolConfig={
                "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}}],
                "toolChoice": {"any": {}},
            },
            additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}},
            **CONVERSE,
        )
        return [(kind, document) for event in answer["stream"] for kind, document in event.items()]

    found = await with_boto(simulator, use)
    deltas = [document["delta"] for kind, document in found if kind == "contentBlockDelta"]
    thought = [delta["reasoningContent"] for delta in deltas if "reasoningContent" in delta]
    assert "".join(part.get("text", "") for part in thought) == thinking_of(3)
    arguments = "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta)
    assert json.loads(arguments)["days"] == 42
    assert dict(found)["messageStop"] == {"stopReason": "tool_use"}
    usage = dict(found)["metadata"]["usage"]
    record = simulator.truth.last
    assert (usage["inputTokens"], usage["outputTokens"]) == (record.input_tokens, record.output_tokens)
    assert (usage["totalTokens"], record.is_finished) == (record.usage.total_tokens if record.usage else 0, True)


async def test_boto_counts_tokens(simulator: Simulator) -> None:
    def use(client: Any) -> Any:
        invocation = {"invokeModel": {"body": json.dumps(CLAUDE)}}
        return [
            client.count_tokens(modelId=MODELS[0], input=given)["inputTokens"]
            for given in (invocation, {"converse": CONVERSE})
        ]

    assert await with_boto(simulator, use) == [6, 6]


async def test_boto_lists_inference_profiles(simulator: Simulator) -> None:
    def use(client: Any) -> Any:
        pages = client.get_paginator("list_inference_profiles").paginate(
            typeEquals="SYSTEM_DEFINED", PaginationConfig={"PageSize": 4}
        )
        return [summary for page in pages for summary in page["inferenceProfileSummaries"]]

    summaries = await with_boto(simulator, use, service="bedrock")
    assert MODELS[1] in {summary["inferenceProfileId"] for summary in summaries}
    assert {summary["status"] for summary in summaries} == {"ACTIVE"}


@pytest.mark.parametrize(
    ("fault", "name", "status"),
    [
        ("400", "ValidationException", 400),
        ("403", "AccessDeniedException", 403),
        ("404", "ResourceNotFoundException", 404),
        ("408", "ModelTimeoutException", 408),
        ("424", "ModelErrorException", 424),
        ("429", "ThrottlingException", 429),
        ("429:none/ModelNotReadyException", "ModelNotReadyException", 429),
        ("500", "InternalServerException", 500),
        ("503", "ServiceUnavailableException", 503),
    ],
)
async def test_boto_raises_the_modelled_exception(simulator: Simulator, fault: str, name: str, status: int) -> None:
    def use(client: Any) -> Any:
        with pytest.raises(getattr(client.exceptions, name)) as raised:
            client.converse(modelId=f"{MODELS[0]}:fault={fault}", **CONVERSE)
        return raised.value.response

    response = await with_boto(simulator, use)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (name, status)
    assert response["Error"]["Message"] == f"simulated {status}"
    assert response["ResponseMetadata"]["RequestId"] == simulator.truth.last.request_id


@pytest.mark.parametrize("kind", ["throttlingException", "modelStreamErrorException", "InternalError"])
async def test_boto_raises_an_exception_in_mid_stream(simulator: Simulator, kind: str) -> None:
    def use(client: Any) -> Any:
        model = f"{MODELS[0]}:fault=error_event:3/{kind}"
        streams = (
            lambda: client.converse_stream(modelId=model, **CONVERSE)["stream"],
            lambda: client.invoke_model_with_response_stream(modelId=model, body=json.dumps(CLAUDE))["body"],
        )
        codes = []
        for open_stream in streams:
            seen = []
            with closing(open_stream()) as stream, pytest.raises(EventStreamError) as raised:
                seen.extend(stream)
            codes.append((len(seen), raised.value.response["Error"]["Code"]))
        return codes

    assert await with_boto(simulator, use) == [(3, kind), (3, kind)]


async def test_boto_with_a_wrong_secret_is_refused(simulator: Simulator) -> None:
    def use(_: Any) -> Any:
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=simulator.base_url,
            region_name="us-east-1",
            aws_access_key_id=LASTING,
            aws_secret_access_key="wrong",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(ClientError) as raised:
            client.converse(modelId=MODELS[0], **CONVERSE)
        client.close()
        return raised.value.response

    response = await with_boto(simulator, use)
    assert response["Error"]["Code"] == "InvalidSignatureException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403


# --- AnthropicBedrock ---------------------------------------------------------------------------------------------

SIGNING = {"aws_access_key": LASTING, "aws_secret_key": ACCESS_KEYS[LASTING].secret}
TEMPORARILY = {
    "aws_access_key": TEMPORARY,
    "aws_secret_key": ACCESS_KEYS[TEMPORARY].secret,
    "aws_session_token": ACCESS_KEYS[TEMPORARY].session_token or "",
}


@pytest.mark.parametrize("credentials", [SIGNING, TEMPORARILY, {"api_key": "a-bedrock-key"}])
@pytest.mark.parametrize("model", MODELS)
async def test_the_anthropic_client_streams_and_creates(
    simulator: Simulator, credentials: dict[str, str], model: str
) -> None:
    def use(sdk: Any) -> Any:
        with sdk.messages.stream(model=f"{model}:{SPEC}", **ASK) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        return text, final, sdk.messages.create(model=f"{model}:{SPEC}", **ASK)

    text, final, whole = await with_anthropic(simulator, use, **credentials)
    assert text == whole.content[0].text == text_of(7)
    for message in (final, whole):
        usage = message.usage
        assert (usage.input_tokens, usage.output_tokens) == (3, 7)
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (10, 20)
    assert [record.usage for record in simulator.truth.records] == [SERVED, SERVED]
    assert {record.model for record in simulator.truth.records} == {f"{model}:{SPEC}"}
    assert {record.credential for record in simulator.truth.records} == {
        credentials.get("aws_access_key") or credentials["api_key"]
    }


async def test_the_anthropic_client_raises_by_status(simulator: Simulator) -> None:
    def use(sdk: Any) -> Any:
        raised = []
        for status in (400, 403, 404, 429, 500):
            try:
                sdk.messages.create(model=f"claude-sim:fault={status}", **ASK)
            except anthropic.APIStatusError as error:
                raised.append((type(error), error.status_code))
        return raised

    assert await with_anthropic(simulator, use, **SIGNING) == [
        (anthropic.BadRequestError, 400),
        (anthropic.PermissionDeniedError, 403),
        (anthropic.NotFoundError, 404),
        (anthropic.RateLimitError, 429),
        (anthropic.InternalServerError, 500),
    ]


async def test_the_anthropic_client_with_a_wrong_secret_is_refused(simulator: Simulator) -> None:
    def use(sdk: Any) -> Any:
        with pytest.raises(anthropic.PermissionDeniedError) as raised:
            sdk.messages.create(model="claude-sim", **ASK)
        return raised.value.response.headers["x-amzn-errortype"].partition(":")[0]

    wrong = {**SIGNING, "aws_secret_key": "wrong"}
    assert await with_anthropic(simulator, use, **wrong) == "InvalidSignatureException"


async def test_the_anthropic_client_raises_in_mid_stream(simulator: Simulator) -> None:
    def use(sdk: Any) -> Any:
        model = "claude-sim:fault=error_event:4/throttlingException"
        with pytest.raises(anthropic.APIError), sdk.messages.stream(model=model, **ASK) as stream:
            stream.until_done()

    await with_anthropic(simulator, use, **SIGNING)
    assert (simulator.truth.last.usage, simulator.truth.last.is_finished) == (Usage(6, 1, 0, 0), False)
