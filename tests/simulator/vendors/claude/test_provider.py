"""Raw requests against the API's routes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay_trio.simulator import Simulator, SimulatorSettings, open_simulator
from tests.simulator.conftest import KEY, SimulatorClient, connect, message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"stream": "yes"}, "stream"),
        ({"model": "m:chunks=many"}, "chunks=many: expected a whole number"),
        ({"model": "m:fault=nonsense"}, 'no fault "nonsense"'),
        ({"model": "m:fault=malformed:nonsense"}, "malformed:nonsense"),
    ],
)
async def test_a_bad_request_is_refused_in_the_envelope(
    client: SimulatorClient, simulator: Simulator, change: dict[str, Any], says: str
) -> None:
    answer = await client.ask({**message(), **change})
    body = answer.json()
    assert (answer.status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    assert says in body["error"]["message"]
    assert body["request_id"] == (answer.header(b"request-id") or b"").decode() == simulator.truth.last.request_id


async def test_version_and_credential_are_asked_for(simulator: Simulator) -> None:
    async def ask(headers: bytes, method: bytes = b"GET", target: bytes = b"/v1/models") -> int:
        raw = await connect(simulator)
        async with raw.stream:
            await raw.stream.send_all(method + b" " + target + b" HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n")
            return (await raw.answer()).status

    assert await ask(b"anthropic-version: 2023-06-01\r\n") == 401
    assert await ask(b"x-api-key: k\r\n") == 400
    assert await ask(b"x-api-key: k\r\nanthropic-version: 1999-01-01\r\n") == 400
    assert await ask(b"x-api-key: k\r\nanthropic-version: 2023-06-01\r\n") == 200
    assert await ask(b"authorization: Bearer k\r\nanthropic-version: 2026-10-21\r\n") == 200
    assert simulator.truth.last.credential == "k"
    assert await ask(b"", target=b"/") == 200
    assert await ask(b"x-api-key: k\r\nanthropic-version: 2023-06-01\r\n", b"PUT") == 405
    assert await ask(b"x-api-key: k\r\nanthropic-version: 2023-06-01\r\n", target=b"/v2/nothing") == 404


async def test_only_accepted_keys_and_known_models_are_served_when_told_so() -> None:
    settings = SimulatorSettings(accepted_keys=frozenset({KEY}), accepts_unknown_models=False)
    async with open_simulator(settings) as simulator:
        raw = await connect(simulator)
        async with raw.stream:
            assert (await raw.ask(message("chunks=1"))).status == 200
            assert (await raw.ask(message(model="claude-nope"))).json()["error"]["message"] == "model: claude-nope"
        raw = await connect(simulator)
        async with raw.stream:
            await raw.stream.send_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: other\r\n\r\n")
            assert (await raw.answer()).status == 401


async def test_a_head_request_has_a_length_and_no_body(client: SimulatorClient, simulator: Simulator) -> None:
    await client.request(method="HEAD", target="/")
    data = await client.receive_until(b"\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert data.endswith(b"\r\n\r\n")
    assert simulator.truth.last.is_finished
    assert json.loads((await client.ask(method="GET", target="/")).body) == {"simulator": "claude"}
