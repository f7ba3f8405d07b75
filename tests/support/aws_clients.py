"""AWS's own clients, and Claude's for Bedrock, configured for a relay."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
from botocore.config import Config

from relay_trio.keys.access_pairs import AccessPairs
from tests.support.accounts import REGION
from tests.support.socket_harness import KEY, SIGV4_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.keys.access_pairs import AccessKeyPair
    from tests.support.socket_harness import SocketHarness


async def client_pair(harness: SocketHarness) -> AccessKeyPair:
    """The pair of the key that may use every model. Cancelled here: atomic."""
    key = await harness.relay.ring.find("cfg_all")
    assert key is not None
    return AccessPairs(SIGV4_SECRET).pair_of(key)


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


def claude_client(harness: SocketHarness) -> anthropic.Anthropic:
    """A client of the Messages API."""
    return anthropic.Anthropic(base_url=harness.url, api_key=KEY, max_retries=0)
