"""What ``keys create`` prints for a client's shell: the lines of those dialects in which an account serves the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.settings.patterns import are_close, common, may_overlap
from relay_trio.vendors.registry import VENDORS, provider_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay_trio.api.dialect import Dialect
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.settings import AccountSettings


def client_lines(
    url: str, key: ClientKey, secret: str, master_secret: str | None, accounts: Sequence[AccountSettings]
) -> Iterator[str]:
    """What clients are configured with, in each dialect in which an account serves ``key``; in all of them while there
    is no account. ``master_secret`` is None where no pair is to be printed.
    """
    dialects = [vendor.dialect for vendor in VENDORS if vendor.dialect is not None]
    serving = _serving(dialects, key, accounts)
    for dialect in dialects:
        if dialect.authenticator is not None and master_secret is not None:
            yield from dialect.authenticator.client_lines(url, key, master_secret, serving[dialect.name])
        elif serving[dialect.name] or not accounts:
            yield from dialect.client_lines(url, secret, serving[dialect.name])


def _serving(
    dialects: Sequence[Dialect], key: ClientKey, accounts: Sequence[AccountSettings]
) -> dict[str, list[AccountSettings]]:
    """By name of the dialect, the accounts that serve ``key`` in it.

    Of the patterns that overlap with one of the key's, those count that are close to it. A name such as ``gemini.x``
    would match both ``gemini*`` and Bedrock's ``vendor.model``, but nobody means it. Where none is close, all count.
    """
    offers = [
        (dialect.name, account, patterns)
        for dialect in dialects
        for account in accounts
        if (patterns := _patterns(dialect, account))
    ]
    found: dict[str, list[AccountSettings]] = {dialect.name: [] for dialect in dialects}
    for model in key.models:
        close = [offer for offer in offers if any(are_close(model, pattern) for pattern in offer[2])]
        for name, account, _ in close or [offer for offer in offers if may_overlap([model], offer[2])]:
            if account not in found[name]:
                found[name].append(account)
    return found


def _patterns(dialect: Dialect, account: AccountSettings) -> list[str]:
    """Of the names that the account serves to clients of the dialect."""
    calls = provider_named(account.provider).calls
    served = [calls[operation.name] for operation in dialect.operations if operation.name in calls]
    return [pattern for call in served for pattern in common(call.models(account), account.models)]
