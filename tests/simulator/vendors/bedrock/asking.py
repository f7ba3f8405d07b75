"""Asking the simulated Bedrock over a raw socket, and reading its event streams with AWS's own decoder."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.eventstream import EventStreamBuffer

if TYPE_CHECKING:
    from tests.simulator.conftest import Answer, SimulatorClient

KEY = "bedrock-api-key-of-the-tests"
CLAUDE: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "three words here"}],
}
CONVERSE: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "three words here"}]}]}


def target(verb: str, spec: str = "", model: str = "anthropic.claude-sim-v1:0") -> str:
    """The path of a model's route, escaped as boto3 escapes it."""
    return f"/model/{quote(f'{model}:{spec}' if spec else model, safe='')}/{verb}"


async def ask(client: SimulatorClient, verb: str, spec: str = "", document: object = None, **options: Any) -> Answer:
    """One request with an API key; the body is the usual one of ``verb`` unless given."""
    body = (CONVERSE if verb.startswith("converse") else CLAUDE) if document is None else document
    head = {"extra": f"authorization: Bearer {KEY}\r\n", "target": target(verb, spec), **options}
    return await client.ask(body, **head)


def messages(body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Headers and payload of each whole frame."""
    buffer = EventStreamBuffer()
    for start in range(0, len(body), 4096):
        buffer.add_data(body[start : start + 4096])
    return [(message.headers, message.payload) for message in buffer]


def kinds(body: bytes) -> list[str]:
    """What each frame says it is."""
    return [
        headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code") or ""
        for headers, _ in messages(body)
    ]


def chunks(body: bytes) -> list[dict[str, Any]]:
    """The model's own events in an invocation's chunks."""
    return [json.loads(base64.b64decode(json.loads(payload)["bytes"])) for _, payload in messages(body)]


def events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The events of a conversation, without padding."""
    found = []
    for headers, payload in messages(body):
        document = json.loads(payload)
        document.pop("p", None)
        found.append((headers[":event-type"], document))
    return found
