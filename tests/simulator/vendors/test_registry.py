"""The vendors there are: each keeps the protocol, and every request finds exactly the one that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.request import Request
from relay_trio.simulator.vendors.registry import PROVIDERS

if TYPE_CHECKING:
    from relay_trio.simulator.provider import Provider

NAMES = [make(SimulatorSettings()).name for make in PROVIDERS]


def providers() -> dict[str, Provider]:
    made = [make(SimulatorSettings()) for make in PROVIDERS]
    return {provider.name: provider for provider in made}


def post(target: bytes) -> Request:
    return Request("POST", target, [], b"", True)


def test_each_has_a_name_of_its_own() -> None:
    assert len(providers()) == len(PROVIDERS)


@pytest.mark.parametrize("name", NAMES)
def test_each_can_answer_an_error_and_what_a_fault_needs(name: str) -> None:
    provider = providers()[name]
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
def test_the_first_that_serves_a_request_is_the_one_that_it_is_for(target: bytes, name: str) -> None:
    assert next(provider for provider in providers().values() if provider.serves(post(target))).name == name


def test_the_last_serves_what_nobody_else_does() -> None:
    *_, last = providers().values()
    assert last.serves(post(b"/anything"))
