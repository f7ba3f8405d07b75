"""What AWS's SDKs and Claude's are configured with on a shell, to be served by a Bedrock account.

They sign for a region, and most refuse to run without one; the relay takes that of a Bedrock account of its pool. boto3
reads ``AWS_DEFAULT_REGION``, the other SDKs ``AWS_REGION``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.vendors.bedrock.settings import BedrockSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.keys.access_pairs import AccessKeyPair
    from relay_trio.settings.account import AccountSettings


def secret_lines(url: str, secret: str, accounts: Sequence[AccountSettings]) -> tuple[str, ...]:
    """For clients that send ``secret`` as a Bedrock API key. AWS's own SDKs do so over https alone."""
    runtime = f" AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}" if url.startswith("https:") else ""
    return (
        f"export ANTHROPIC_BEDROCK_BASE_URL={url}{runtime} AWS_BEARER_TOKEN_BEDROCK={secret}",
        _region_line(accounts),
    )


def pair_lines(url: str, pair: AccessKeyPair, accounts: Sequence[AccountSettings]) -> tuple[str, ...]:
    """For clients that sign with ``pair``."""
    return (
        f"export ANTHROPIC_BEDROCK_BASE_URL={url} AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}",
        f"export AWS_ACCESS_KEY_ID={pair.access_key_id} AWS_SECRET_ACCESS_KEY={pair.secret_access_key}",
        _region_line(accounts),
    )


def _region_line(accounts: Sequence[AccountSettings]) -> str:
    for account in accounts:
        if isinstance(account, BedrockSettings):
            return f"export AWS_REGION={account.region} AWS_DEFAULT_REGION={account.region}"
    return (
        "# and AWS_REGION and AWS_DEFAULT_REGION: the region of a Bedrock account that serves this key; none does yet"
    )
