"""The protocol, and the providers there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.simulator import SimulatorSettings
from relay_trio.simulator.bedrock import Bedrock
from relay_trio.simulator.claude import Claude
from relay_trio.simulator.request import Request

if TYPE_CHECKING:
    from relay_trio.simulator.provider import Provider


def test_claude_is_one_and_serves_what_nobody_else_does() -> None:
    provider: Provider = Claude(SimulatorSettings())
    assert provider.serves(Request("GET", b"/anything", [], b"", True))
    assert provider.error(429, "slow down", "req_1", b"7").status == 429
    for piece in (provider.error_event(""), provider.malformed(""), provider.huge_event(10)):
        assert piece.content.endswith(b"\n\n")


def test_bedrock_is_one_and_serves_its_own_routes_only() -> None:
    provider: Provider = Bedrock(SimulatorSettings())
    served = {path: provider.serves(Request("POST", path, [], b"", True)) for path in PATHS}
    assert served == {path: path.startswith((b"/model/", b"/inference-profiles")) for path in PATHS}
    assert provider.error(429, "slow down", "req_1", b"7").status == 429
    assert {bool(piece.content) for piece in (provider.error_event(""), provider.malformed(""))} == {True}


PATHS = (b"/model/m/invoke", b"/model/m", b"/inference-profiles", b"/v1/messages", b"/", b"/models", b"/v1/models/m")
