"""The vendors there are: each keeps the protocol, its samples are understood, and a request finds its vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.plan import check_spec
from relay_trio.simulator.request import Request
from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.registry import VENDORS, new_providers
from tests.simulator.conftest import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay_trio.simulator import ServedRequest, Simulator
    from relay_trio.simulator.provider import Provider
    from relay_trio.simulator.samples import SampleAccount, SampleRequest
    from tests.simulator.conftest import Answer

PROVIDERS = [make for vendor in VENDORS for make in vendor.providers]
FORMS = [form for vendor in VENDORS for form in vendor.samples.requests]
ACCOUNTS = [account for vendor in VENDORS for account in vendor.samples.accounts]

each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


@pytest.mark.parametrize("make", PROVIDERS, ids=lambda make: make.name)
def test_each_can_answer_an_error_and_what_a_fault_needs(make: Callable[[SimulatorSettings], Provider]) -> None:
    provider = make(SimulatorSettings())
    assert provider.error(429, "slow down", "req_1", b"7").status == 429
    assert all(piece.content for piece in (provider.error_event(""), provider.malformed(""), provider.huge_event(10)))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/model/m/invoke", "bedrock"),
        (b"/model/m", "bedrock"),
        (b"/inference-profiles", "bedrock"),
        (b"/v1beta/models/m:streamGenerateContent?alt=sse", "gemini"),
        (b"/v1beta/models/m:streamGenerateContent", "gemini-array"),
        (b"/v1beta/models/m:generateContent", "gemini"),
        (b"/v1/messages", "claude"),
        (b"/anything", "claude"),
    ],
)
def test_a_request_is_for_one_provider_and_for_the_first_if_for_no_other(target: bytes, name: str) -> None:
    request = Request("POST", target, [], b"", True)
    serving = [provider.name for provider in new_providers(SimulatorSettings()) if provider.serves(request)]
    assert serving[0] == name
    assert serving[1:] in ([], ["claude"])


async def ask(simulator: Simulator, request: SampleRequest, spec: str = "") -> tuple[Answer, ServedRequest]:
    simulator.plan_next(spec)
    client = await connect(simulator)
    async with client.stream:
        await client.stream.send_all(b"".join(request.encoded()))
        return await client.answer(), simulator.truth.last


@each_form
@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_a_sample_is_answered_and_its_end_is_found(
    simulator: Simulator, form: Callable[[Prompt], SampleRequest], is_stream: bool
) -> None:
    request = form(Prompt("three words here", 3, "client-key", is_stream=is_stream))
    answer, served = await ask(simulator, request)
    assert (answer.status, answer.is_whole, request.is_finished(answer.body[-2048:])) == (200, True, True)
    assert (served.is_stream, served.output_tokens, served.credential) == (is_stream, 3, "client-key")


@each_form
async def test_a_sample_takes_a_spec_and_another_model(
    simulator: Simulator, form: Callable[[Prompt], SampleRequest]
) -> None:
    _, served = await ask(simulator, form(Prompt("hi", 50, "k", model="other", spec="chunks=2,tag=mine")))
    assert (served.model, served.output_tokens, served.tag) == ("other:chunks=2,tag=mine", 2, "mine")


@each_form
async def test_an_error_event_is_an_end(simulator: Simulator, form: Callable[[Prompt], SampleRequest]) -> None:
    request = form(Prompt("hi", 50, "k"))
    answer, _ = await ask(simulator, request, "fault=error_event:2")
    assert (answer.status, answer.is_whole, request.is_finished(answer.body[-2048:])) == (200, True, True)


@each_form
async def test_a_stream_that_ends_too_early_is_found_though_http_is_content(
    simulator: Simulator, form: Callable[[Prompt], SampleRequest]
) -> None:
    request = form(Prompt("hi", 50, "k"))
    answer, _ = await ask(simulator, request, "chunks=10,fault=end_after_events:7")
    assert (answer.status, answer.is_whole, request.is_finished(answer.body[-2048:])) == (200, True, False)


def test_every_sample_account_is_another_and_is_known_by_its_credential() -> None:
    assert len({account.name for account in ACCOUNTS}) == len({account.credential for account in ACCOUNTS})
    assert len(ACCOUNTS) == len({account.name for account in ACCOUNTS}) >= len(VENDORS)
    for account in ACCOUNTS:
        table = account.table("http://127.0.0.1:9")
        assert account.credential in table.values()
        assert (table["base_url"], table["max_concurrency"]) == ("http://127.0.0.1:9", account.slots)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_the_pace_of_a_sample_account_is_a_spec(account: SampleAccount) -> None:
    check_spec(account.pace)
