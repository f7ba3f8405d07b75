"""Who asks, when an AWS SDK does: a relay key as Bedrock API key, or a signature by the pair of a relay key.

A signature covers the body by its hash, and the body comes last. So this happens in two steps: what the headers claim
is judged at once (whose pair, which service and region, how old), and the rest, the signature itself, by ``Proof``
once the body is here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from relay_trio.errors import AuthenticationFailed
from relay_trio.keys.aws_pairs import AccessKeys
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.web.auth import authenticate
from relay_trio.wire.sigv4 import is_signature_of, is_signed, parse_claim
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope

    from relay_trio.config import Settings
    from relay_trio.http import Headers
    from relay_trio.keys.client_key import ClientKey
    from relay_trio.keys.ring import KeyRing
    from relay_trio.relay.asked import BodyProof
    from relay_trio.wire.sigv4 import Claim

SERVICE = "bedrock"
SKEW_SECONDS = 300
"""How far a client's clock may be from ours; AWS's own limit."""

_REFUSED = "the AWS signature is not valid: use the pair that relay-trio keys create --aws printed"


class AwsAuth:
    """What signatures are checked against: the master secret and the regions of the pool."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.server.sigv4_secret
        self._pairs = None if secret is None else AccessKeys(secret.get_secret_value())
        self._regions = {account.region for account in settings.account if isinstance(account, BedrockSettings)}

    async def identify(self, ring: KeyRing, scope: HTTPScope) -> tuple[ClientKey, BodyProof | None]:
        """The key of a request, and what is still to be proved of it.

        Raises:
            AuthenticationFailed: there is none, or it is not valid.

        Cancelled here: atomic.
        """
        headers: Headers = list(scope["headers"])
        if not is_signed(headers):
            return await authenticate(ring, headers), None
        if self._pairs is None:
            raise AuthenticationFailed("AWS signatures are not accepted here: [server] sigv4_secret is not set")
        try:
            claim = parse_claim(headers)
        except WireError as error:
            raise AuthenticationFailed(f"the AWS signature is not valid: {error}") from None
        key_id = self._pairs.key_id_of(claim.access_key_id)
        key = None if key_id is None else await ring.find(key_id)
        if key is None:
            raise AuthenticationFailed(_REFUSED)
        if abs(time.time() - claim.signed_at) > SKEW_SECONDS:
            raise AuthenticationFailed(f"the AWS signature's date is more than {SKEW_SECONDS} seconds from now")
        if claim.service != SERVICE or (self._regions and claim.region not in self._regions):
            regions = ", ".join(sorted(region for region in self._regions if region)) or "any region"
            raise AuthenticationFailed(f"the AWS signature must be for the service {SERVICE} in {regions}")
        return key, Proof(claim, self._pairs.pair_of(key).secret_access_key, scope)


class Proof:
    """The signature of one request, to be checked against its body."""

    def __init__(self, claim: Claim, secret: str, scope: HTTPScope) -> None:
        self._claim = claim
        self._secret = secret
        self._request = (scope["method"], scope["raw_path"], scope["query_string"])
        self._headers: Headers = list(scope["headers"])

    def check(self, body: bytes) -> None:
        """Raise AuthenticationFailed unless all of it was signed with the pair. Every comparison is in constant time.

        One AWS client signs ``host`` without the port that it sends, so both are tried.
        """
        claim = self._claim
        body_hash = hashlib.sha256(body).hexdigest()
        if claim.body_hash is not None and not hmac.compare_digest(claim.body_hash, body_hash):
            raise AuthenticationFailed("the AWS signature is not valid: the body is not the one that was signed")
        portless: Headers = [
            (name, value.rpartition(b":")[0] or value if name == b"host" else value) for name, value in self._headers
        ]
        for headers in (self._headers, portless):
            if is_signature_of(claim, self._secret, *self._request, headers, body_hash=body_hash):
                return
        raise AuthenticationFailed(_REFUSED)
