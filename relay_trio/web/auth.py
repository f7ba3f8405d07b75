"""Who a client is: by the relay key that its request carries, or by the signature that it was signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.errors import AuthenticationFailed

if TYPE_CHECKING:
    from relay_trio.api.authenticator import BodyCheck, RelaySettings
    from relay_trio.api.dialect import Dialect
    from relay_trio.http import ClientHead
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.keys.ring import KeyRing


async def authenticate(
    ring: KeyRing, dialect: Dialect, head: ClientHead, settings: RelaySettings
) -> tuple[ClientKey, BodyCheck | None]:
    """The key of a request, and what its body still has to show if it was signed.

    Raises:
        AuthenticationFailed: it has no secret, or one that is unknown or revoked, or a signature that is not valid. The
            message is the same for every secret, so that it says nothing about keys.
        LedgerUnavailable: the keys could not be read for too long.

    Cancelled here: atomic.
    """
    if dialect.authenticator is not None:
        signed = dialect.authenticator.signed_head(head, settings)
        if signed is not None:
            return signed.verified(None if signed.key_id is None else await ring.find(signed.key_id))
    secrets = dialect.secrets_in(head)
    if not secrets:
        raise AuthenticationFailed(f"a relay key is required, as {dialect.secret_places}")
    for secret in secrets:
        key = await ring.authenticate(secret)
        if key is not None:
            return key, None
    raise AuthenticationFailed("the relay key is not valid")
