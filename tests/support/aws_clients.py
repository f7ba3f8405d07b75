"""A relay with Bedrock accounts, and AWS's own clients configured for it."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
from botocore.config import Config

from relay_trio.keys.access_pairs import AccessPairs
from tests.support.socket_harness import KEY, open_harness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from relay_trio.keys.access_pairs import AccessKeyPair
    from tests.support.socket_harness import Harness

REGION = "eu-central-1"
MASTER = "canary-of-the-master-secret-0123456789"
PAIR = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
"""The example credentials that the simulator accepts."""


def bedrock_account(name: str, base_url: str, **changes: object) -> dict[str, object]:
    """One account as relay.toml would have it."""
    plain = {"name": name, "provider": "bedrock", "region": REGION, "base_url": base_url, "max_concurrency": 4}
    return plain | ({} if "api_key" in changes else PAIR) | changes


@asynccontextmanager
async def open_bedrock_harness(folder: Path, *accounts: dict[str, object], **server: object) -> AsyncIterator[Harness]:
    """A running relay that takes signatures; ``server`` is more of its section. Cancelled here: destroys."""
    sections: Any = {"server": {"sigv4_secret": MASTER} | server, "breaker": {"enabled": False}}
    async with open_harness(folder, list(accounts), **sections) as harness:
        yield harness
        _assert_no_secret(folder, harness)


def _assert_no_secret(folder: Path, harness: Harness) -> None:
    for file in folder.iterdir():
        assert PAIR["secret_access_key"].encode() not in file.read_bytes()
    assert PAIR["secret_access_key"] not in harness.log.getvalue()


async def client_pair(harness: Harness) -> AccessKeyPair:
    """The pair of the key that may use every model. Cancelled here: atomic."""
    key = await harness.relay.ring.find("cfg_all")
    assert key is not None
    return AccessPairs(MASTER).pair_of(key)


@contextmanager
def aws_client(url: str, pair: AccessKeyPair, *, region: str = REGION) -> Iterator[Any]:
    """boto3's client of the runtime, without retries. It would leave its sockets to the garbage collector."""
    client = boto3.client(
        "bedrock-runtime",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=pair.access_key_id,
        aws_secret_access_key=pair.secret_access_key,
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=10, connect_timeout=5),
    )
    with closing(client):
        yield client


def events_of(stream: Any) -> list[Any]:
    """Everything in an event stream of boto3's, which is closed also when it breaks."""
    with closing(stream):
        return list(stream)


def claude_client(harness: Harness) -> anthropic.Anthropic:
    """A client of the Messages API."""
    return anthropic.Anthropic(base_url=harness.url, api_key=KEY, max_retries=0)
