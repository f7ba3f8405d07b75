"""How clients authenticate that sign their requests instead of sending a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.http import ClientHead
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.settings import AccountSettings, ServerSettings


class RelaySettings(Protocol):
    """What of a relay's settings an authenticator looks at, each time anew."""

    @property
    def server(self) -> ServerSettings: ...
    @property
    def account(self) -> Sequence[AccountSettings]: ...


class BodyCheck(Protocol):
    """What is left to verify of a request that was signed: its signature covers the body, which comes last."""

    def check(self, body: bytes) -> None:
        """Raise AuthenticationFailed unless the signature is that of this request with this body. It hashes all of it:
        2 ms per megabyte."""


class SignedHead(Protocol):
    """The head of a request that was signed."""

    key_id: str | None
    """The client key whose pair the request names; None where this relay made no such pair."""

    def verified(self, key: ClientKey | None) -> tuple[ClientKey, BodyCheck]:
        """``key``, which the ring has for ``key_id``, and what is left to verify.

        Raises:
            AuthenticationFailed: there is no such key, or what the head claims is wrong already.
        """


class Authenticator(Protocol):
    """How clients of one dialect authenticate by a signature, with a pair of keys that belongs to a client key."""

    option: str
    """What the option of ``relay-trio keys create`` is called that prints such a pair."""

    option_help: str

    def signed_head(self, head: ClientHead, settings: RelaySettings) -> SignedHead | None:
        """What a signed request claims; None for one that is not signed, which then has a secret.

        Raises:
            AuthenticationFailed: signatures are not accepted, or this one cannot be read.
        """

    def client_lines(
        self, url: str, key: ClientKey, master_secret: str, accounts: Sequence[AccountSettings]
    ) -> Sequence[str]:
        """What a client on a shell is configured with to sign with the pair of ``key``, in place of the dialect's own
        lines. ``accounts`` are those that serve it, which may be none yet."""
