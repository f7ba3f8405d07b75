"""Who asks: the relay key in a request's headers, in any of the places where SDKs put it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.errors import AuthenticationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.http import Headers
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.keys.ring import KeyRing


_KEY_HEADERS = (b"x-api-key", b"x-goog-api-key")


def presented_secrets(headers: Headers) -> list[str]:
    """Every credential of a request: ``x-api-key`` (older SDKs), ``Authorization: Bearer`` (newer ones),
    ``x-goog-api-key`` (Google's).

    A client that has both configured sends both, and either may be the relay's.
    """
    secrets: list[str] = []
    for name, value in headers:
        text = value.decode("latin-1").strip()
        if name in _KEY_HEADERS and text:
            secrets.append(text)
        elif name == b"authorization" and text[:7].lower() == "bearer " and text[7:].strip():
            secrets.append(text[7:].strip())
    return secrets


async def authenticate(ring: KeyRing, headers: Headers, others: Sequence[str] = ()) -> ClientKey:
    """The key of a request; ``others`` are secrets that came elsewhere than in its headers.

    Raises:
        AuthenticationFailed: there is none, or it is unknown or revoked. The message is the same for all of them but
            the first, so that it tells nothing about keys.

    Cancelled here: atomic.
    """
    secrets = [*presented_secrets(headers), *others]
    if not secrets:
        raise AuthenticationFailed(
            "a relay key is required, as x-api-key or as Authorization: Bearer (Gemini clients: x-goog-api-key)"
        )
    for secret in secrets:
        key = await ring.authenticate(secret)
        if key is not None:
            return key
    raise AuthenticationFailed("the relay key is not valid")
