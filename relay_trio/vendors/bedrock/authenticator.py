"""How AWS SDKs authenticate on plain http: by a signature, made with the pair of a relay key.

A signature covers the body by its hash, and the body comes last. So this happens in two steps: what the headers claim
is judged at once (whose pair, which service and region, how old), and the signature itself once the body is here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from relay_trio.errors import AuthenticationFailed
from relay_trio.keys.access_pairs import AccessPairs
from relay_trio.vendors.bedrock.client_lines import pair_lines
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.vendors.bedrock.signing import SERVICE
from relay_trio.wire.sigv4 import is_signature_of, is_signed, parse_claim
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.authenticator import RelaySettings
    from relay_trio.http import ClientHead, Headers
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.settings.account import AccountSettings
    from relay_trio.wire.sigv4 import Claim

SKEW_SECONDS = 300
"""How far a client's clock may be from ours; AWS's own limit."""

_REFUSED = "the AWS signature is not valid: use the pair that relay-trio keys create --aws printed"


class SigV4Authenticator:
    """AWS Signature Version 4, verified with pairs that are derived from ``[server] sigv4_secret``."""

    option = "aws"
    option_help = "Print an AWS access key pair too, for SDKs that sign their requests."

    def signed_head(self, head: ClientHead, settings: RelaySettings) -> SignedHead | None:
        """
        Raises:
            AuthenticationFailed: there is no master secret, or the signature cannot be read.
        """
        if not is_signed(head.headers):
            return None
        secret = settings.server.sigv4_secret
        if secret is None:
            raise AuthenticationFailed("AWS signatures are not accepted here: [server] sigv4_secret is not set")
        try:
            claim = parse_claim(head.headers)
        except WireError as error:
            raise AuthenticationFailed(f"the AWS signature is not valid: {error}") from None
        regions = {account.region for account in settings.account if isinstance(account, BedrockSettings)}
        return SignedHead(head, claim, AccessPairs(secret.get_secret_value()), regions)

    def client_lines(
        self, url: str, key: ClientKey, master_secret: str, accounts: Sequence[AccountSettings]
    ) -> Sequence[str]:
        """The variables that AWS's SDKs read, and Claude's in their Bedrock form."""
        return pair_lines(url, AccessPairs(master_secret).pair_of(key), accounts)


class SignedHead:
    """The head of a signed request. ``regions`` are those of the pool; empty: any."""

    def __init__(self, head: ClientHead, claim: Claim, pairs: AccessPairs, regions: set[str]) -> None:
        self.key_id = pairs.key_id_of(claim.access_key_id)
        self._head = head
        self._claim = claim
        self._pairs = pairs
        self._regions = regions

    def verified(self, key: ClientKey | None) -> tuple[ClientKey, Signature]:
        """
        Raises:
            AuthenticationFailed: there is no such key, or the signature is of another time or place.
        """
        claim = self._claim
        if key is None:
            raise AuthenticationFailed(_REFUSED)
        if abs(time.time() - claim.signed_at) > SKEW_SECONDS:
            raise AuthenticationFailed(f"the AWS signature's date is more than {SKEW_SECONDS} seconds from now")
        if claim.service != SERVICE or (self._regions and claim.region not in self._regions):
            regions = ", ".join(sorted(self._regions)) or "any region"
            raise AuthenticationFailed(f"the AWS signature must be for the service {SERVICE} in {regions}")
        return key, Signature(self._head, claim, self._pairs.pair_of(key).secret_access_key)


class Signature:
    """The signature of one request, to be checked against its body."""

    def __init__(self, head: ClientHead, claim: Claim, secret: str) -> None:
        self._head = head
        self._claim = claim
        self._secret = secret

    def check(self, body: bytes) -> None:
        """Raise AuthenticationFailed unless all of it was signed with the pair. Every comparison is in constant time.

        One AWS client signs ``host`` without the port that it sends, so both are tried.
        """
        head, claim = self._head, self._claim
        body_hash = hashlib.sha256(body).hexdigest()
        if claim.body_hash is not None and not hmac.compare_digest(claim.body_hash, body_hash):
            raise AuthenticationFailed("the AWS signature is not valid: the body is not the one that was signed")
        portless: Headers = [
            (name, value.rpartition(b":")[0] or value if name == b"host" else value) for name, value in head.headers
        ]
        for headers in (head.headers, portless):
            if is_signature_of(
                claim, self._secret, head.method, head.raw_path, head.query, headers, body_hash=body_hash
            ):
                return
        raise AuthenticationFailed(_REFUSED)
