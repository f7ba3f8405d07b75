"""What only ``[[account]] provider = "bedrock"`` can have: a region that exists, and one way to prove itself.

The region becomes part of a host name that credentials are sent to, so it is one of a list and never a client's word.
A region that is too new for the list is reached by naming its host in ``base_url``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.settings.sections import AccountSettings

REGIONS = frozenset({
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1",
    "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1",
    "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
})  # fmt: skip
"""Regions whose Bedrock is at ``bedrock-runtime.{region}.amazonaws.com``."""

_REGION = re.compile(r"[a-z]{2,5}(-[a-z]{2,12}){1,2}-[0-9]{1,2}", re.ASCII)

OWN_MODELS = ("*.*", "arn:*")
"""Bedrock's own names: ``vendor.model``, ``eu.vendor.model`` and ARNs."""

SETTINGS = (
    "region",
    "profile",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "assume_role_arn",
    "model_ids",
)


def with_bedrock_defaults(table: dict[str, Any]) -> dict[str, Any]:
    """``table`` with the ``models`` that a Bedrock account can serve, where none are given: its own names, and those
    that ``model_ids`` translates. A name of Anthropic's own API without a translation would only be refused there."""
    if table.get("provider") != "bedrock" or "models" in table:
        return table
    ids = table.get("model_ids")
    return {**table, "models": [*OWN_MODELS, *(ids if isinstance(ids, dict) else ())]}


def bedrock_problems(account: AccountSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with an account, as (setting, message), first things first."""
    if account.provider != "bedrock":
        for name in SETTINGS:
            if getattr(account, name):
                yield name, 'is only for provider = "bedrock"'
        return
    if account.region is None:
        yield "region", "is required for provider bedrock"
    elif not _REGION.fullmatch(account.region):
        yield "region", "must be the name of an AWS region, such as eu-central-1"
    elif account.region not in REGIONS and account.base_url is None:
        yield "region", "is not a region that is known here; if there is one of this name, set base_url to its host too"
    has_keys = account.access_key_id is not None or account.secret_access_key is not None
    if (account.access_key_id is None) != (account.secret_access_key is None):
        missing = "access_key_id" if account.access_key_id is None else "secret_access_key"
        yield missing, "is needed, because the other half of the pair is set"
    if account.session_token is not None and not has_keys:
        yield "session_token", "belongs to access_key_id and secret_access_key, which are not set"
    if account.api_key is not None:
        for name in ("access_key_id", "secret_access_key", "profile", "assume_role_arn"):
            if getattr(account, name) is not None:
                yield name, "must not be set beside api_key: an account proves itself in one way"
    elif has_keys and account.profile is not None:
        yield "profile", "must not be set beside access_key_id: an account proves itself in one way"
