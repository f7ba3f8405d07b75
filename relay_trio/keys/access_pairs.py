"""Access key pairs for client keys: derived from a master secret and the key, so nothing more is stored.

A client that signs its requests, as AWS's SDKs do on plain http, sends no secret that could be looked up. Its pair
belongs to a client key: when the key is revoked, the pair works no more. The access key id names the client key and
ends with a tag that only this relay can make, so a request with a made-up id is refused before its body is read. The
secret access key is never sent.
"""

from __future__ import annotations

import hmac
from base64 import b32decode, b32encode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay_trio.keys.client_key import ClientKey

PREFIX = "RTAK"
_TAG_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class AccessKeyPair:
    """What a client that signs is configured with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


class AccessPairs:
    """The pairs of every key, by the master secret."""

    def __init__(self, master_secret: str) -> None:
        self._master = master_secret.encode()

    def pair_of(self, key: ClientKey) -> AccessKeyPair:
        """The pair of ``key``. It changes with the key's own secret: an id that is given again has another one."""
        secret = self._derived("secret access key", key.id.encode() + b"\0" + key.digest)
        written = b32encode(key.id.encode()).decode().rstrip("=")
        return AccessKeyPair(f"{PREFIX}{written}{self._tag(key.id)}", b64encode(secret).decode())

    def key_id_of(self, access_key_id: str) -> str | None:
        """The id of the key that a pair belongs to; None when this relay never gave it out."""
        written = access_key_id.removeprefix(PREFIX)[:-_TAG_CHARACTERS]
        try:
            key_id = b32decode(written + "=" * (-len(written) % 8)).decode()
        except ValueError:
            return None
        made = f"{PREFIX}{written}{self._tag(key_id)}"
        return key_id if hmac.compare_digest(made.encode(), access_key_id.encode()) else None

    def _tag(self, key_id: str) -> str:
        return b32encode(self._derived("access key id", key_id.encode())).decode()[:_TAG_CHARACTERS]

    def _derived(self, purpose: str, text: bytes) -> bytes:
        return hmac.digest(self._master, f"relay-trio {purpose}\0".encode() + text, "sha256")
