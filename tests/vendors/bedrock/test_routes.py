"""Every route of the Bedrock runtime: where it goes, the path as it came, and errors as AWS tells them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from relay_trio.http import header
from tests.support import bedrock_scripts
from tests.support.memory_harness import open_harness
from tests.vendors.claude.test_routes import recording, send

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.memory_harness import Client

ARN = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.m-v1:0"
BEDROCK = bedrock_scripts.ACCOUNTS


def exception(client: Client) -> str:
    """The name of the error that the client got, which has a message too."""
    assert json.loads(client.body)["message"]
    headers = client.sent[0]["headers"]
    assert header(headers, b"x-amzn-requestid") == header(headers, b"request-id")
    return (header(headers, b"x-amzn-errortype") or b"").decode()


@pytest.mark.parametrize(
    ("method", "path", "route", "model"),
    [
        ("POST", "/model/x.m/invoke", "bedrock.invoke", "x.m"),
        ("POST", "/model/x.m/converse", "bedrock.converse", "x.m"),
        ("POST", "/model/x.m/count-tokens", "bedrock.count_tokens", "x.m"),
        ("GET", "/inference-profiles/x.m", "bedrock.inference_profiles", "x.m"),
    ],
)
async def test_each_route_is_relayed_under_its_name(
    autojump_clock: MockClock, method: str, path: str, route: str, model: str
) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **BEDROCK) as harness:
        client = await send(harness, method, path)
        assert client.status == 200
        assert heads[-1].startswith(f"{method} {path} HTTP/1.1\r\n".encode())
        assert b"\r\nauthorization: AWS4-HMAC-SHA256 Credential=AKIAFIXED/" in heads[0]
        (row,) = harness.rows
        assert (row.route, row.model, row.is_stream) == (route, model, False)
        harness.assert_at_rest()


@pytest.mark.parametrize("call", ["invoke-with-response-stream", "converse-stream"])
async def test_a_stream_is_one_by_its_path(autojump_clock: MockClock, call: str) -> None:
    """The body is not asked, and what is no event stream is not one."""
    heads: list[bytes] = []
    async with open_harness(recording(heads), **BEDROCK) as harness:
        client = await send(harness, "POST", f"/model/x.m/{call}")
        assert (client.status, exception(client)) == (502, "InternalServerException")
        assert harness.rows[0].is_stream


@pytest.mark.parametrize(
    "raw",
    [
        ARN.replace(":", "%3A").replace("/", "%2F"),
        ARN.replace("/", "%2F"),
        ARN.replace(":", "%3a").replace("/", "%2f"),
        "eu.anthropic.m-v1:0",
        "eu.anthropic.m-v1%3A0",
    ],
)
async def test_the_escapes_of_a_model_survive_and_its_name_is_decoded(autojump_clock: MockClock, raw: str) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **BEDROCK) as harness:
        model = ARN if raw.startswith("arn") else "eu.anthropic.m-v1:0"
        await send(harness, "POST", f"/model/{model}/invoke", f"/model/{raw}/invoke".encode())
        assert heads[0].startswith(f"POST /model/{raw}/invoke HTTP/1.1\r\n".encode())
        assert harness.rows[0].model == model


@pytest.mark.parametrize(
    ("path", "raw", "status"),
    [
        ("/model/a/../b/invoke", "/model/a%2F..%2Fb/invoke", 400),
        ("/model/../invoke", "/model/%2e%2e/invoke", 400),
        ("/model/a/b/invoke", "/model/a/b/invoke", 404),
        ("/model/a b/invoke", "/model/a%20b/invoke", 400),
        ("/model/a%2Fb/invoke", "/model/a%252Fb/invoke", 400),
        ("/model/ä/invoke", "/model/%C3%A4/invoke", 400),
        ("/model/a/invoke", "/model//a/invoke", 404),
        ("/model/a?b/invoke", "/model/a%3Fb/invoke", 400),
        ("/model/" + "a" * 300 + "/invoke", "/model/" + "a" * 300 + "/invoke", 400),
    ],
)
async def test_a_path_that_could_mean_something_else_is_not_relayed(
    autojump_clock: MockClock, path: str, raw: str, status: int
) -> None:
    heads: list[bytes] = []
    async with open_harness(recording(heads), **BEDROCK) as harness:
        client = await send(harness, "POST", path, raw.encode())
        assert client.status == status
        assert exception(client) == ("ValidationException" if status == 400 else "ResourceNotFoundException")
        assert not heads


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/model/x.m/invoke", 405, "ValidationException"),
        ("POST", "/inference-profiles", 405, "ValidationException"),
        ("POST", "/model/x.m/invoke-async", 404, "ResourceNotFoundException"),
        ("POST", "/model/", 404, "ResourceNotFoundException"),
    ],
)
async def test_before_any_route_errors_are_told_as_aws_tells_them(
    autojump_clock: MockClock, method: str, path: str, status: int, name: str
) -> None:
    async with open_harness(recording([]), **BEDROCK) as harness:
        client = await send(harness, method, path)
        assert (client.status, exception(client)) == (status, name)


async def test_a_model_that_the_key_may_not_use_is_denied(autojump_clock: MockClock) -> None:
    key = [{"name": "test", "secret": "rt_test", "models": ["y.*"]}]
    async with open_harness(recording([]), **BEDROCK, key=key) as harness:
        client = await send(harness, "POST", "/model/x.m/invoke")
        assert (client.status, exception(client)) == (403, "AccessDeniedException")
        assert harness.rows[0].outcome is not None
        assert harness.rows[0].outcome.word == "rejected_auth"


async def test_without_an_account_at_bedrock_there_is_no_such_model(autojump_clock: MockClock) -> None:
    async with open_harness(recording([])) as harness:
        client = await send(harness, "POST", "/model/x.m/invoke")
        assert (client.status, exception(client)) == (404, "ResourceNotFoundException")


async def test_a_body_need_not_be_json(autojump_clock: MockClock) -> None:
    """It is in the model's own format."""
    heads: list[bytes] = []
    async with open_harness(recording(heads), **BEDROCK) as harness:
        client = harness.request(b"\x00 not json", path="/model/x.m/invoke")
        await client.run()
        assert client.status == 200
