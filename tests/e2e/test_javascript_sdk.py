"""The AWS SDK for JavaScript: the same through the relay as without it, over HTTP/2 and HTTP/1.1.

With its defaults it speaks HTTP/2, by prior knowledge on plain http and by ALPN on https, signs ``:authority``, and
sends a graceful GOAWAY as soon as the head of an event stream is here. The simulator speaks HTTP/1.1, so what the SDK
shows without the relay is seen with its handler for that.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from relay_trio.keys.access_pairs import AccessKeyPair
from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.vendors.bedrock.settings import BedrockSettings
from tests.support.accounts import AWS_PAIR, REGION, bedrock_account
from tests.support.aws_clients import client_pair
from tests.support.cases import case
from tests.support.javascript import JavaScript, install
from tests.support.socket_harness import NEVER_RESTS, PROMPT, until

if TYPE_CHECKING:
    from pathlib import Path

    from relay_trio.simulator import Simulator
    from tests.support.socket_harness import Row, SocketHarness

MODEL = "anthropic.claude-sim-v1:0:input=31,cache_creation=7,cache_read=5,chunks=6"
PACED = "anthropic.claude-sim-v1:0:chunks=50,pace=0.1"
LATE = "anthropic.claude-sim-v1:0:delay=5"
ARN = f"arn:aws:bedrock:{REGION}:123456789012:inference-profile/eu.anthropic.claude-sim-v1:0"
SIMULATORS = AccessKeyPair(**AWS_PAIR)
BODY = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}],
    }
)
CONVERSED = [{"role": "user", "content": [{"text": PROMPT}]}]

HANDLERS = ("default on http", "default on https", "http1 on http")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a certificate for 127.0.0.1, with the authority that gave it."""
    folder = tmp_path_factory.mktemp("authority")
    made = trustme.CA()
    made.cert_pem.write_to_path(folder / "authority.pem")
    certificate = made.issue_cert("127.0.0.1")
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(folder / "certificate.pem", append=number > 0)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder


@pytest.fixture(scope="session")
def javascript(authority: Path) -> JavaScript:
    return JavaScript(install(), authority / "authority.pem")


@pytest.fixture
def simulator_settings() -> SimulatorSettings:
    return SimulatorSettings(chunks=5, vendors=(BedrockSettings(region=REGION),))


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def accounts(simulator: Simulator) -> list[dict[str, object]]:
    return [bedrock_account("one", simulator.base_url)]


@pytest.fixture
def sections(handler: str, authority: Path) -> dict[str, Any]:
    """The relay speaks what ``handler`` asks of it."""
    tls: dict[str, object] = {}
    if handler.endswith("https"):
        tls = {"tls_cert": str(authority / "certificate.pem"), "tls_key": str(authority / "key.pem")}
    return {"breaker": NEVER_RESTS, "server": tls}


def call(operation: str, model: str = MODEL, *, name: str = "", **more: object) -> dict[str, Any]:
    """One call of the SDK."""
    given: dict[str, object] = {"modelId": model}
    if operation.startswith("Invoke"):
        given |= {"body": BODY, "contentType": "application/json"}
    elif operation.startswith("Converse"):
        given |= {"messages": CONVERSED, "inferenceConfig": {"maxTokens": 50}}
    else:
        given |= {"input": {"converse": {"messages": CONVERSED}}}
    return {"name": name or f"{operation} {model}", "operation": operation, "input": given, **more}


OPERATIONS = ("InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream", "CountTokens")
CALLS = [
    *(call(operation) for operation in OPERATIONS),
    *(call(operation, ARN) for operation in OPERATIONS[:4]),
    call("ConverseStream", MODEL + ",fault=resplit:3"),
]


async def through(javascript: JavaScript, relay: SocketHarness, handler: str, *calls: dict[str, Any]) -> dict[str, Any]:
    """What the SDK shows of the relay. Cancelled here: destroys."""
    pair = await client_pair(relay)
    return await javascript.run(relay.url, pair, calls, region=REGION, handler=handler.partition(" ")[0])


def same_each_time(seen: dict[str, Any]) -> dict[str, Any]:
    """Without ids and measured times."""
    seen = json.loads(json.dumps(seen))
    del seen["requestId"]
    answers = [seen["answer"] or {}, *(event.get("chunk", event) for event in seen["events"])]
    for answer in answers:
        answer.pop("id", None)
        answer.pop("metrics", None)
        answer.get("message", {}).pop("id", None)
        answer.get("metadata", {}).pop("metrics", None)
    return seen


def usage_in(seen: dict[str, Any]) -> tuple[int, ...] | None:
    """The figures that the SDK showed, in the ledger's order; None where there are none."""
    found: dict[str, int] = {}
    for event in [seen["answer"] or {}, *seen["events"]]:
        inner = event.get("chunk", event)
        for place in (inner, inner.get("message", {}), inner.get("metadata", {})):
            found.update({name: n for name, n in place.get("usage", {}).items() if isinstance(n, int)})
    for names in (
        ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
        ("inputTokens", "outputTokens", "cacheWriteInputTokens", "cacheReadInputTokens"),
    ):
        if names[0] in found:
            return tuple(found.get(name, 0) for name in names)
    return None


def tokens(row: Row) -> tuple[int, ...]:
    return tuple(row[f"{name}_tokens"] for name in ("input", "output", "cache_creation", "cache_read"))


async def test_every_call_shows_the_same_as_without_the_relay(
    javascript: JavaScript, simulator: Simulator, relay: SocketHarness, handler: str
) -> None:
    """Answers, events, request ids; and the usage that the SDK shows is the ledger's."""
    without = await javascript.run(simulator.base_url, SIMULATORS, CALLS, region=REGION, handler="http1")
    seen = await through(javascript, relay, handler, *CALLS)
    rows = {row["request_id"]: row for row in await relay.rows()}
    assert len(rows) == len(CALLS)
    for name, shown in seen.items():
        with case(name):
            assert shown["error"] is None
            assert same_each_time(shown) == same_each_time(without[name])
            row = rows[shown["requestId"]]
            assert (row["outcome"], row["code"], row["status"], row["attempts"]) == ("completed", "--", 200, 1)
            usage = usage_in(shown)
            assert row["usage_source"] == ("none" if usage is None else "exact")
            if usage is not None:
                assert tokens(row) == usage


async def test_a_client_that_aborts_ends_the_call_upstream(
    javascript: JavaScript, simulator: Simulator, relay: SocketHarness, handler: str
) -> None:
    """By its AbortController, in a stream and while nothing has come yet. (Leaving the loop over the events is not
    enough over HTTP/2: the SDK reads on.)"""
    calls = [
        call("InvokeModelWithResponseStream", PACED, abortAfterEvents=3),
        call("ConverseStream", PACED, abortAfterEvents=3),
        call("ConverseStream", LATE, name="waiting stream", abortAfterMs=200),
        call("Converse", LATE, name="waiting", abortAfterMs=200),
    ]
    seen = await through(javascript, relay, handler, *calls)
    assert [(seen[name]["events"], seen[name]["error"]["name"]) for name in ("waiting stream", "waiting")] == [
        ([], "AbortError")
    ] * 2
    assert [row["outcome"] for row in await relay.rows()] == ["client_disconnect"] * len(calls)
    await until(lambda: all(served.closed_by == "client" for served in simulator.truth.records))
    assert not any(served.is_finished for served in simulator.truth.records)


async def test_errors_have_the_classes_that_they_have_without_the_relay(
    javascript: JavaScript, simulator: Simulator, relay: SocketHarness, handler: str
) -> None:
    calls = [
        call(operation, f"anthropic.claude-sim-v1:0:fault={status}:none")
        for status in (400, 404, 424, 429, 500)
        for operation in OPERATIONS[:4]
    ]
    without = await javascript.run(simulator.base_url, SIMULATORS, calls, region=REGION, handler="http1")
    seen = await through(javascript, relay, handler, *calls)
    for name, shown in seen.items():
        with case(name):
            assert shown["error"] is not None
            assert {**shown["error"], "message": ""} == {**without[name]["error"], "message": ""}


async def test_a_stream_that_breaks_is_an_error(javascript: JavaScript, relay: SocketHarness, handler: str) -> None:
    """Never a shorter answer."""
    calls = [
        call(operation, f"anthropic.claude-sim-v1:0:fault={fault}")
        for fault in ("error_event:3", "close_after_events:3", "reset_after_events:3")
        for operation in ("InvokeModelWithResponseStream", "ConverseStream")
    ]
    seen = await through(javascript, relay, handler, *calls)
    for name, shown in seen.items():
        with case(name):
            assert len(shown["events"]) == 3
            assert shown["error"] is not None


async def test_what_the_pair_did_not_sign_is_refused(
    javascript: JavaScript, relay: SocketHarness, handler: str
) -> None:
    """A wrong secret, a stranger's pair, another region."""
    pair = await client_pair(relay)
    wrong = dataclasses.replace(pair, secret_access_key="wrong")
    for given, region in ((wrong, REGION), (SIMULATORS, REGION), (pair, "us-east-1")):
        seen = await javascript.run(
            relay.url,
            given,
            [call("Converse"), call("ConverseStream")],
            region=region,
            handler=handler.partition(" ")[0],
        )
        for shown in seen.values():
            assert (shown["error"]["name"], shown["error"]["status"]) == ("AccessDeniedException", 403)
