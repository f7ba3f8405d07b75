"""AWS Signature Version 4, from the side that verifies: what a request claims, and what its signature must be.

    HMAC(key, "AWS4-HMAC-SHA256" \\n date \\n scope \\n SHA256(canonical request))

The rules are those of "Create a signed AWS API request" (AWS IAM user guide) for services that are not S3: the path is
encoded once more than it was sent, and the body's hash is always part of it. Requests to upstreams are signed by
botocore; that this module agrees with it is a test, and neither can hide the other's mistake.

Clients that speak HTTP/2 may sign pseudo-header fields (RFC 9113 section 8.3.1): the AWS SDK for JavaScript signs
``:authority`` where others sign ``host``. The two are one value, and the other fields are parts of the request line, so
they are verified whichever version of HTTP the request arrived in: a proxy may have changed it on the way.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_SIGNED_HEADERS_MAX = 64
_AUTHORITY = frozenset({"host", ":authority"})
_PSEUDO_FIELDS = frozenset({":authority", ":method", ":path", ":scheme"})
_CLAIM = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<access_key_id>[A-Za-z0-9]{4,256})/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,64})"
    r"/(?P<service>[a-z0-9-]{1,64})/aws4_request\s*,\s*SignedHeaders=(?P<signed>[a-z0-9:;_.-]{1,4096})"
    r"\s*,\s*Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers of a signed request say. ``signed_at`` is epoch seconds; ``body_hash`` is the body's SHA-256 in
    hexadecimal where a header states it (and the signature covers it), else None: then it is the body's own."""

    access_key_id: str
    date: str
    signed_at: int
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    body_hash: str | None

    @property
    def scope(self) -> str:
        return f"{self.date[:8]}/{self.region}/{self.service}/aws4_request"


def is_signed(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request carries a signature in its headers."""
    return any(name == b"authorization" and value.lstrip()[:16] == b"AWS4-HMAC-SHA256" for name, value in headers)


def parse_claim(headers: Sequence[tuple[bytes, bytes]]) -> Claim:
    """The claim in ``headers`` (names in lower case).

    Raises:
        WireError: there is none, it cannot be read, or it leaves out what a signature must cover: ``host`` (or
            ``:authority``, which is the same), and every ``x-amz-`` header that was sent.
    """
    match = _CLAIM.fullmatch(_only(headers, b"authorization").strip())
    if match is None:
        raise WireError("the authorization header is no AWS signature that can be read")
    date = _only(headers, b"x-amz-date")
    signed = tuple(match["signed"].split(";"))
    if len(signed) > _SIGNED_HEADERS_MAX or list(signed) != sorted(set(signed)):
        raise WireError("the signed headers are not in order, or too many")
    sent = {name.decode("latin-1") for name, _ in headers}
    if "host" not in sent or _AUTHORITY.isdisjoint(signed) or not (sent | _PSEUDO_FIELDS).issuperset(signed):
        raise WireError("the signature must cover host or :authority, and only headers that were sent")
    if any(name.startswith("x-amz-") and name not in signed for name in sent):
        raise WireError("the signature must cover every x-amz- header")
    body_hash = _only(headers, b"x-amz-content-sha256") if "x-amz-content-sha256" in sent else None
    if body_hash == UNSIGNED_PAYLOAD or (body_hash is not None and not _HASH.fullmatch(body_hash)):
        raise WireError("the signature must cover the body: x-amz-content-sha256 must be its SHA-256")
    signed_at = _epoch_seconds(date)
    if date[:8] != match["day"]:
        raise WireError("the date of the signature is not that of its scope")
    return Claim(
        match["access_key_id"],
        date,
        signed_at,
        match["region"],
        match["service"],
        signed,
        match["signature"],
        body_hash,
    )


def is_signature_of(
    claim: Claim,
    secret: str,
    method: str,
    raw_path: bytes,
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    body_hash: str,
) -> bool:
    """Whether ``claim`` was signed with ``secret`` over this request. Compared in constant time.

    ``:scheme`` may have been http or https: who ends TLS in front of us makes the one of the other.
    """
    schemes = (b"https", b"http") if ":scheme" in claim.signed_headers else (b"",)
    is_match = False
    for scheme in schemes:
        fields = [*_pseudo_fields(method, raw_path, query, headers, scheme), *headers]
        canonical = canonical_request(method, raw_path, query, fields, claim.signed_headers, body_hash)
        is_match |= hmac.compare_digest(_signature(claim, secret, canonical), claim.signature)
    return is_match


def _signature(claim: Claim, secret: str, canonical: bytes) -> str:
    to_sign = "\n".join((ALGORITHM, claim.date, claim.scope, hashlib.sha256(canonical).hexdigest()))
    key = b"AWS4" + secret.encode()
    for part in (*claim.scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _pseudo_fields(
    method: str, raw_path: bytes, query: bytes, headers: Sequence[tuple[bytes, bytes]], scheme: bytes
) -> list[tuple[bytes, bytes]]:
    """What HTTP/2 has for the request line and ``host``. No name of a header that arrived begins with a colon."""
    authority = [(b":authority", value) for name, value in headers if name == b"host"]
    path = raw_path + b"?" + query if query else raw_path
    return [*authority, (b":method", method.encode()), (b":path", path), (b":scheme", scheme)]


def canonical_request(
    method: str,
    raw_path: bytes,
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    signed_headers: Sequence[str],
    body_hash: str,
) -> bytes:
    """The text that stands for a request. ``raw_path`` and ``query`` as on the request line."""
    values: dict[str, list[bytes]] = {name: [] for name in signed_headers}
    for name, value in headers:
        signed = values.get(name.decode("latin-1"))
        if signed is not None:
            signed.append(b" ".join(value.split()))
    lines = [name.encode() + b":" + b",".join(found) + b"\n" for name, found in values.items()]
    parts = (
        method.encode(),
        quote_from_bytes(raw_path or b"/", safe="/-_.~").encode(),
        _canonical_query(query),
        b"".join(lines),
        ";".join(signed_headers).encode(),
        body_hash.encode(),
    )
    return b"\n".join(parts)


def _canonical_query(query: bytes) -> bytes:
    pairs = []
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        pairs.append((quote(unquote_to_bytes(name), safe="-_.~"), quote(unquote_to_bytes(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs)).encode()


def _only(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """The one value of ``name``: a second one would leave open which of them is meant."""
    values = [value for key, value in headers if key == name]
    if len(values) != 1:
        raise WireError(f"a signed request has {name.decode()} once")
    return values[0].decode("latin-1")


def _epoch_seconds(date: str) -> int:
    match = _DATE.fullmatch(date)
    if match is None:
        raise WireError("x-amz-date is not of the form 20260131T235959Z")
    return timegm(tuple(map(int, match.groups())))
