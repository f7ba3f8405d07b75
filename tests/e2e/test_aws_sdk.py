"""AWS's own clients, and Claude's against a Bedrock account: the same through the relay as without it.

Signatures are real on both sides: the client signs for the relay, which verifies; the relay signs for the simulator,
which verifies with code that shares nothing with ours. What the SDK counted is what the ledger has and what the
simulator served.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import botocore.exceptions
import pytest
import trio

from relay_trio.keys.access_pairs import AccessKeyPair
from relay_trio.simulator import SimulatorSettings, open_simulator
from relay_trio.simulator.vendors.bedrock.settings import BedrockSettings
from tests.support.accounts import AWS_PAIR, REGION, bedrock_account
from tests.support.aws_clients import aws_client, claude_client, client_pair, events_of
from tests.support.cases import case
from tests.support.socket_harness import KEY, NEVER_RESTS, OTHER_KEY, PROMPT, open_harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from relay_trio.simulator import ServedRequest, Simulator
    from tests.support.socket_harness import Row, SocketHarness

    Call = Callable[[Any], Any]

MODEL = "anthropic.claude-sim-v1:0:input=31,cache_creation=7,cache_read=5,chunks=6"
ARN = f"arn:aws:bedrock:{REGION}:123456789012:inference-profile/eu.anthropic.claude-sim-v1:0"
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
CONVERSED = [{"role": "user", "content": [{"text": PROMPT}]}]
SIMULATORS = AccessKeyPair(**AWS_PAIR)
NAMES = {"claude-sim": "eu.anthropic.claude-sim-v1:0:input=31,cache_creation=7,cache_read=5,chunks=6"}


@pytest.fixture
def simulator_settings() -> SimulatorSettings:
    return SimulatorSettings(chunks=5, vendors=(BedrockSettings(region=REGION),))


@pytest.fixture
def accounts(simulator: Simulator) -> list[dict[str, object]]:
    return [bedrock_account("one", simulator.base_url, model_ids=NAMES)]


@pytest.fixture
def sections() -> dict[str, Any]:
    return {"breaker": NEVER_RESTS}


# --- the calls ----------------------------------------------------------------------------------------------------


def claude_body(**more: object) -> str:
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": MESSAGES, **more})


def invoke(client: Any, model: str = MODEL, **more: object) -> Any:
    answer = client.invoke_model(modelId=model, body=claude_body(**more))
    message = json.loads(answer["body"].read())
    del message["id"]
    return message


def invoke_stream(client: Any, model: str = MODEL) -> Any:
    answer = client.invoke_model_with_response_stream(modelId=model, body=claude_body(), accept="application/json")
    events = [json.loads(event["chunk"]["bytes"]) for event in events_of(answer["body"])]
    events[0]["message"].pop("id")
    return events


def converse(client: Any, model: str = MODEL) -> Any:
    answer = client.converse(modelId=model, messages=CONVERSED, inferenceConfig={"maxTokens": 50})
    del answer["ResponseMetadata"], answer["metrics"]
    return answer


def converse_stream(client: Any, model: str = MODEL) -> Any:
    answer = client.converse_stream(modelId=model, messages=CONVERSED)
    events = events_of(answer["stream"])
    events[-1]["metadata"].pop("metrics")
    return events


def count_tokens(client: Any) -> Any:
    answer = client.count_tokens(modelId=MODEL, input={"invokeModel": {"body": claude_body()}})
    return answer["inputTokens"]


CALLS: dict[str, Call] = {
    "invoke": invoke,
    "invoke, ARN": partial(invoke, model=ARN),
    "invoke, long body": partial(invoke, system="s " * 200_000),
    "invoke stream": invoke_stream,
    "invoke stream, ARN": partial(invoke_stream, model=ARN),
    "invoke stream, bytes drip": partial(invoke_stream, model=MODEL + ",fault=resplit:3"),
    "converse": converse,
    "converse stream": converse_stream,
    "converse stream, bytes drip": partial(converse_stream, model=MODEL + ",fault=resplit:3"),
    "count tokens": count_tokens,
}


def usage_in(seen: Any) -> tuple[int, ...] | None:
    """The figures that a user of boto3 finds, in the ledger's order; None where there are none."""
    if isinstance(seen, list) and "metadata" in seen[-1]:
        seen = seen[-1]["metadata"]
    elif isinstance(seen, list):
        found: dict[str, int] = dict(seen[0]["message"]["usage"])
        for event in seen:
            found.update({k: v for k, v in event.get("usage", {}).items() if v is not None})
        seen = {"usage": found}
    if not isinstance(seen, dict):
        return None
    usage = seen["usage"]
    for names in (
        ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
        ("inputTokens", "outputTokens", "cacheWriteInputTokens", "cacheReadInputTokens"),
    ):
        if names[0] in usage:
            return tuple(usage.get(name) or 0 for name in names)
    raise AssertionError(usage)


def tokens(row: Row) -> tuple[int, ...]:
    return tuple(row[f"{name}_tokens"] for name in ("input", "output", "cache_creation", "cache_read"))


def truth(served: ServedRequest) -> tuple[int, ...]:
    return (served.input_tokens, served.output_tokens, served.cache_creation_tokens, served.cache_read_tokens)


async def test_every_call_of_boto3_shows_the_same_and_its_numbers_are_everybodys(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """Directly, then through the relay."""
    pair = await client_pair(relay)
    with aws_client(simulator.base_url, SIMULATORS) as direct, aws_client(relay.url, pair) as through:
        for name, call in CALLS.items():
            with case(name):
                without = await trio.to_thread.run_sync(call, direct)
                simulator.truth.clear()
                seen = await trio.to_thread.run_sync(call, through)
                assert seen == without
                row = (await relay.rows())[-1]
                assert (row["outcome"], row["code"], row["status"], row["attempts"]) == ("completed", "--", 200, 1)
                usage = usage_in(seen)
                if usage is None:
                    assert row["usage_source"] == "none"
                else:
                    assert tokens(row) == usage == truth(simulator.truth.last)
                    assert row["usage_source"] == "exact"


async def test_the_request_id_that_boto3_shows_is_the_ledgers(relay: SocketHarness) -> None:
    with aws_client(relay.url, await client_pair(relay)) as client:
        answer = await trio.to_thread.run_sync(partial(client.converse, modelId=MODEL, messages=CONVERSED))
    assert answer["ResponseMetadata"]["RequestId"] == (await relay.row())["request_id"]


# --- Claude's clients ---------------------------------------------------------------------------------------------


def shown(answer: Any) -> dict[str, Any]:
    fields: dict[str, Any] = answer.model_dump(mode="json", exclude_unset=True, warnings=False)
    del fields["id"]
    return fields


def create(client: Any, model: str, **more: Any) -> Any:
    return shown(client.messages.create(model=model, max_tokens=50, messages=MESSAGES, **more))


def streamed(client: Any, model: str) -> Any:
    with client.messages.create(model=model, max_tokens=50, messages=MESSAGES, stream=True) as events:
        dumped = [event.model_dump(mode="json", exclude_unset=True, warnings=False) for event in events]
    dumped[0]["message"].pop("id")
    return dumped


def final_message(client: anthropic.Anthropic, model: str) -> Any:
    with client.messages.stream(model=model, max_tokens=50, messages=MESSAGES) as events:  # type: ignore[arg-type]
        return shown(events.get_final_message())


def bedrock_client(url: str, pair: AccessKeyPair | None) -> anthropic.AnthropicBedrock:
    """With a pair it signs; without, the relay key is its API key."""
    if pair is None:
        return anthropic.AnthropicBedrock(base_url=url, aws_region=REGION, api_key=KEY, max_retries=0)
    return anthropic.AnthropicBedrock(
        base_url=url,
        aws_region=REGION,
        aws_access_key=pair.access_key_id,
        aws_secret_key=pair.secret_access_key,
        max_retries=0,
    )


@pytest.mark.parametrize("is_signing", [True, False], ids=["signature", "api key"])
async def test_anthropic_bedrock_shows_the_same(is_signing: bool, simulator: Simulator, relay: SocketHarness) -> None:
    pair = await client_pair(relay) if is_signing else None
    with bedrock_client(simulator.base_url, SIMULATORS) as direct, bedrock_client(relay.url, pair) as through:
        for call, model in ((create, MODEL), (streamed, MODEL), (create, ARN), (streamed, ARN)):
            without = await trio.to_thread.run_sync(call, direct, model)
            simulator.truth.clear()
            seen = await trio.to_thread.run_sync(call, through, model)
            assert seen == without
            row = (await relay.rows())[-1]
            assert (row["outcome"], row["usage_source"], row["model"]) == ("completed", "exact", model)
            assert tokens(row) == truth(simulator.truth.last)


async def test_claudes_client_served_by_bedrock_sees_what_claude_itself_would_send(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """The same simulated model, natively and translated: events, final message and tokens."""
    native = "claude-sim:input=31,cache_creation=7,cache_read=5,chunks=6"
    with anthropic.Anthropic(base_url=simulator.base_url, api_key=KEY, max_retries=0) as direct:
        with claude_client(relay) as through:
            for call in (create, streamed, final_message):
                with case(call.__name__):
                    without = await trio.to_thread.run_sync(call, direct, native)
                    simulator.truth.clear()
                    seen = await trio.to_thread.run_sync(call, through, "claude-sim")
                    assert without_what_only_one_has(seen) == without_what_only_one_has(without)
                    row = (await relay.rows())[-1]
                    assert (row["outcome"], row["usage_source"], row["model"]) == ("completed", "exact", "claude-sim")
                    assert tokens(row) == truth(simulator.truth.last) == (31, 6, 7, 5)
    sent = json.loads(simulator.truth.last.body)
    assert sent["anthropic_version"]
    assert not {"model", "stream"} & set(sent)


def without_what_only_one_has(seen: Any) -> Any:
    """Pings are Anthropic's own, no client shows them; and the model is named as each was asked for it."""
    events = [event for event in seen if event["type"] != "ping"] if isinstance(seen, list) else [seen]
    for event in events:
        event.get("message", event).pop("model", None)
    return events


# --- errors -------------------------------------------------------------------------------------------------------


def code_of(call: Call, client: Any) -> tuple[int, str]:
    """Status and code of the error that boto3 raises."""
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(client)
    answer: Any = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


async def test_errors_of_the_upstream_have_boto3s_classes(simulator: Simulator, relay: SocketHarness) -> None:
    pair = await client_pair(relay)
    with aws_client(simulator.base_url, SIMULATORS) as direct, aws_client(relay.url, pair) as through:
        for status in (400, 404, 408, 413, 424, 429, 500, 503):
            for call in (invoke, invoke_stream, converse, converse_stream):
                failing = partial(call, model=f"anthropic.claude-sim-v1:0:fault={status}:none")
                with case((status, call.__name__)):
                    seen = await trio.to_thread.run_sync(code_of, failing, through)
                    assert seen == await trio.to_thread.run_sync(code_of, failing, direct)


async def test_the_row_says_whose_fault_an_error_of_the_upstream_was(
    simulator: Simulator, relay: SocketHarness
) -> None:
    """A status of 4xx is not the client's fault by itself: the verdict decides what is booked."""
    pair = await client_pair(relay)
    with aws_client(relay.url, pair) as client:
        for status, outcome, code in (
            (400, "rejected_request", "SH"),
            (404, "rejected_request", "SH"),
            (408, "upstream_timeout", "sH"),
            (424, "upstream_error", "SH"),
            (429, "upstream_rate_limited", "SH"),
        ):
            failing = partial(invoke, model=f"anthropic.claude-sim-v1:0:fault={status}:none")
            with case(status):
                assert (await trio.to_thread.run_sync(code_of, failing, client))[0] == status
                row = (await relay.rows())[-1]
                assert (row["outcome"], row["code"], row["status"]) == (outcome, code, status)


async def test_errors_of_the_relay_have_boto3s_classes(relay: SocketHarness) -> None:
    """A wrong secret, a stranger's pair, another region, a model the key may not use, no such model."""
    pair = await client_pair(relay)
    narrow_key = await relay.relay.ring.find("cfg_narrow")
    assert narrow_key is not None
    wrong = dataclasses.replace(pair, secret_access_key="wrong")
    for made, model, expected in (
        (aws_client(relay.url, wrong), MODEL, (403, "AccessDeniedException")),
        (aws_client(relay.url, SIMULATORS), MODEL, (403, "AccessDeniedException")),
        (aws_client(relay.url, pair, region="us-east-1"), MODEL, (403, "AccessDeniedException")),
        (aws_client(relay.url, pair), "claude-without-a-vendor", (404, "ResourceNotFoundException")),
    ):
        with made as client:
            assert await trio.to_thread.run_sync(code_of, partial(invoke, model=model), client) == expected
    with bedrock_client(relay.url, None) as through, pytest.raises(anthropic.PermissionDeniedError):
        through.api_key = OTHER_KEY
        await trio.to_thread.run_sync(create, through, MODEL)


async def test_errors_of_bedrock_have_the_classes_that_claudes_client_knows(folder: Path, simulator: Simulator) -> None:
    for status, kind, seen in (
        (400, anthropic.BadRequestError, 400),
        (404, anthropic.NotFoundError, 404),
        (424, anthropic.InternalServerError, 500),
        (429, anthropic.RateLimitError, 429),
        (503, anthropic.InternalServerError, 529),
        (500, anthropic.InternalServerError, 500),
    ):
        name = {"claude-sim": f"anthropic.claude-sim-v1:0:fault={status}:none"}
        place = folder / str(status)
        place.mkdir()
        async with open_harness(
            place, [bedrock_account("one", simulator.base_url, model_ids=name)], breaker=NEVER_RESTS
        ) as harness:
            with claude_client(harness) as client:
                for call in (create, streamed):
                    with pytest.raises(kind) as raised:
                        await trio.to_thread.run_sync(call, client, "claude-sim")
                    assert raised.value.status_code == seen
                    assert raised.value.body["request_id"].startswith("req_")  # type: ignore[index]


async def test_an_account_with_an_api_key_or_a_temporary_pair_is_served_too(folder: Path) -> None:
    settings = SimulatorSettings(
        chunks=5, vendors=(BedrockSettings(region=REGION),), accepted_keys=frozenset({"ABSK-canary"})
    )
    temporary = {
        "access_key_id": "ASIAIOSFODNN7EXAMPLE",
        "secret_access_key": AWS_PAIR["secret_access_key"],
        "session_token": "simulated-session-token",
    }
    async with open_simulator(settings) as simulator:
        for number, proof in enumerate(({"api_key": "ABSK-canary"}, temporary)):
            place = folder / str(number)
            place.mkdir()
            async with open_harness(
                place, [bedrock_account("one", simulator.base_url, **proof)], breaker=NEVER_RESTS
            ) as harness:
                with aws_client(harness.url, await client_pair(harness)) as client:
                    await trio.to_thread.run_sync(converse_stream, client)
