"""Asking the accounts' upstreams: what each answer means to the operator."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from pydantic import SecretStr

from relay_trio.config import Settings
from relay_trio.http import ResponseHead
from relay_trio.pool.probe import judge, probe_accounts
from relay_trio.simulator import SimulatorSettings, open_simulator
from relay_trio.simulator.vendors.bedrock.settings import BedrockSettings as SimulatedBedrock
from relay_trio.vendors.bedrock.provider import Bedrock
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.vendors.claude.provider import Claude
from relay_trio.vendors.gemini.provider import Gemini
from relay_trio.vendors.vertex.provider import Vertex
from tests.support.accounts import claude_settings

if TYPE_CHECKING:
    from tests.support.canned_upstream import Served


@pytest.mark.parametrize(
    ("status", "is_ok", "text"),
    [
        (200, True, "reachable 84 ms   key accepted"),
        (401, False, "reachable 84 ms   key refused (401)"),
        (403, False, "reachable 84 ms   key refused (403)"),
        (429, True, "reachable 84 ms   answered 429: too busy to say whether it accepts the key"),
        (529, True, "reachable 84 ms   answered 529: too busy to say whether it accepts the key"),
        (301, False, "reachable 84 ms   answered 301: is base_url right?"),
        (404, False, "reachable 84 ms   answered 404: is base_url right?"),
        (500, False, "reachable 84 ms   answered 500: is base_url right?"),
    ],
)
def test_a_status_is_said_in_words(status: int, is_ok: bool, text: str) -> None:
    result = judge(Claude(), ResponseHead(status, []), 83.6)
    assert (result.is_ok, result.text) == (is_ok, text)


def test_an_error_that_shows_the_credential_is_good_is_as_good() -> None:
    """Of Bedrock nothing is asked for that it has: only then is the answer free."""
    no_such_model = ResponseHead(400, [(b"x-amzn-errortype", b"ValidationException:http://x/")])
    assert judge(Bedrock(), no_such_model, 83.6).text == "reachable 84 ms   key accepted"
    assert judge(Bedrock(), ResponseHead(403, []), 83.6).text == "reachable 84 ms   key refused (403)"


def test_google_says_400_to_a_wrong_key() -> None:
    assert judge(Gemini(), ResponseHead(400, []), 83.6).text == "reachable 84 ms   key refused (400)"
    no_such_model = ResponseHead(404, [(b"content-type", b"application/json; charset=UTF-8")])
    assert judge(Vertex(), no_such_model, 83.6).text == "reachable 84 ms   key accepted"
    assert not judge(Vertex(), ResponseHead(404, []), 83.6).is_ok


async def test_a_probe_sends_the_credential_and_costs_no_tokens(serve_upstream: Served) -> None:
    with serve_upstream(200) as upstream:
        [result] = await probe_accounts(Settings(account=(claude_settings(base_url=upstream.base_url),)))
    assert result.is_ok
    assert result.text.endswith("ms   key accepted")
    [(request_line, headers)] = upstream.requests
    assert request_line.startswith("GET /v1/models")
    assert headers["x-api-key"] == "sk-account"


async def test_an_upstream_that_is_not_there_is_not_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    [result] = await probe_accounts(Settings(account=(claude_settings(base_url=f"http://127.0.0.1:{port}"),)))
    assert not result.is_ok
    assert result.text.startswith("not reachable: ")
    assert "sk-account" not in result.text


async def test_an_upstream_that_never_answers_is_given_up_at_its_deadline_and_holds_up_no_other(
    serve_upstream: Served,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, serve_upstream(200) as upstream, trio.fail_after(5):
        port = silent.getsockname()[1]
        stalled = claude_settings(base_url=f"http://127.0.0.1:{port}", name="stalled", first_byte_timeout_seconds=0.05)
        results = await probe_accounts(Settings(account=(stalled, claude_settings(base_url=upstream.base_url))))
    assert results[0].text == (
        f"not reachable: no answer from 127.0.0.1:{port} within first_byte_timeout_seconds (0.05 s)"
    )
    assert results[1].is_ok


async def test_an_upstream_that_does_not_speak_http_is_not_reachable() -> None:
    async def nonsense(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.org ESMTP\r\n")

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, nonsense, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        [result] = await probe_accounts(Settings(account=(claude_settings(base_url=f"http://127.0.0.1:{port}"),)))
        nursery.cancel_scope.cancel()
    assert not result.is_ok
    assert result.text.startswith("not reachable: ")


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "key accepted"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYANOTHERKEY", "key refused (403)"),
    ],
)
async def test_a_signed_probe_arrives_as_it_was_signed(secret: str, text: str) -> None:
    """Nothing between the signature and the socket adds to the headers, or spells the path in another way."""
    async with open_simulator(SimulatorSettings(vendors=(SimulatedBedrock(region="eu-central-1"),))) as simulator:
        signing = BedrockSettings(
            name="bedrock-a",
            provider="bedrock",
            region="eu-central-1",
            access_key_id=SecretStr("AKIAIOSFODNN7EXAMPLE"),
            secret_access_key=SecretStr(secret),
            max_concurrency=1,
            base_url=simulator.base_url,
        )
        [result] = await probe_accounts(Settings(account=(signing,)))
    assert result.text.endswith(f"ms   {text}")
