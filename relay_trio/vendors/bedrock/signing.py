"""Signing requests to AWS: botocore's SigV4 over exactly the target, the headers and the bytes that go out.

botocore takes a tenth of a second to import, so the first account that signs imports it, when the account is made. A
relay without such an account never imports it. A request uses nothing else of botocore: no client, no session, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_trio.http import Headers

SERVICE = "bedrock"
"""The name that signatures for ``bedrock-runtime`` and ``bedrock`` hosts are scoped to."""


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """An access key pair; ``session_token`` for a temporary one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@cache
def signing() -> tuple[Any, Any, Any]:
    """botocore's SigV4Auth, AWSRequest and Credentials. The first call imports them, which takes 100 ms."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    return SigV4Auth, AWSRequest, ReadOnlyCredentials


def signed_headers(
    keys: AwsKeys, region: str, method: str, url: str, headers: Headers, body: bytes
) -> list[tuple[bytes, bytes]]:
    """``headers`` and those of the signature: ``x-amz-date``, ``x-amz-security-token``, ``authorization``.

    ``url`` is scheme, host (with a port that is not the scheme's own) and target as they go out, escapes and all.
    Every header given is signed, and so is ``host``, which the transport adds. The body is hashed: 2 ms per megabyte.
    """
    auth, request_type, credentials = signing()
    texts = [(name.decode(), value.decode("latin-1")) for name, value in headers]
    request = request_type(method=method, url=url, data=body)
    for name, value in texts:
        request.headers.add_header(name, value)
    pair = credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    auth(pair, SERVICE, region).add_auth(request)
    return [
        *headers,
        *(
            (name.lower().encode(), value.encode())
            for name, value in request.headers.items()
            if name in ("X-Amz-Date", "X-Amz-Security-Token", "Authorization")
        ),
    ]
