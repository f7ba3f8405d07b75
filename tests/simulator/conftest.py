"""A client that shows every byte and how the connection ended, and a simulator to point it at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httptools
import pytest
import trio

from relay_trio.demo.http_client import HttpClient
from relay_trio.simulator import Simulator, SimulatorSettings, open_simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-ant-of-the-tests"


def message(spec: str = "", **fields: Any) -> dict[str, Any]:
    """A message request whose model carries ``spec``."""
    return {
        "model": f"claude-sim:{spec}" if spec else "claude-sim",
        "max_tokens": 1000,
        "stream": True,
        "messages": [{"role": "user", "content": "three words here"}],
        **fields,
    }


@dataclass
class Answer:
    """What came until the connection or the answer ended. ``ended``: whole, fin, reset, junk."""

    raw: bytes = b""
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    ended: str = ""
    is_whole: bool = False
    parser: httptools.HttpResponseParser | None = None

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_whole = self.parser is not None and self.parser.get_status_code() >= 200


class SimulatorClient(HttpClient):
    """One connection to the simulator, whose answers are shown byte by byte: many are broken on purpose, and what comes
    before the break counts."""

    async def request(
        self, document: object = None, *, method: str = "POST", target: str = "/v1/messages", extra: str = ""
    ) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        head = (
            f"{method} {target} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nanthropic-version: 2023-06-01\r\n"
            f"{extra}content-length: {len(body)}\r\n\r\n"
        )
        await self.send(head.encode() + body)

    async def answer(self) -> Answer:
        """Read until the answer is whole or the connection ends."""
        answer = Answer()
        parser = answer.parser = httptools.HttpResponseParser(answer)
        while not answer.ended:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                answer.ended = "reset"
                break
            answer.raw += data
            if not data:
                answer.ended = "fin"
                break
            try:
                parser.feed_data(data)
            except httptools.HttpParserError:
                answer.ended = "junk"
            answer.status = parser.get_status_code()
            if answer.is_whole:
                answer.ended = "whole"
        return answer

    async def ask(self, document: object = None, **options: Any) -> Answer:
        await self.request(document, **options)
        return await self.answer()

    async def receive_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            data += await self.stream.receive_some(65536)
        return data


async def connect(simulator: Simulator) -> SimulatorClient:
    stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
    return SimulatorClient(stream, stream.socket)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    with trio.fail_after(20):
        async with open_simulator(SimulatorSettings(chunks=5)) as opened:
            yield opened


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[SimulatorClient]:
    raw = await connect(simulator)
    yield raw
    with trio.move_on_after(1, shield=True):
        await raw.stream.aclose()
