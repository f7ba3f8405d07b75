"""Signature Version 4, verified as AWS verifies it: the same canonical request made again from what arrived.

The path as it stands on the request line, cleaned of empty and dot segments, is encoded once more (it travels encoded
once, so a ``%3A`` is signed as ``%253A`` and a raw ``:`` as ``%3A``); the query is decoded, encoded and sorted; each
signed header is trimmed; the payload is hashed, whatever ``x-amz-content-sha256`` says. ``:authority``, which a signer
that speaks HTTP/2 may name in place of ``host``, is ``host``.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import calendar
import email.utils
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.simulator.request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 300
_TERMINATOR = "aws4_request"
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_FIELDS = ("Credential", "Signature", "SignedHeaders")
_UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What belongs to an access key id. One with a ``session_token`` is temporary, and is refused without it.

    ``expires_at`` in seconds since the epoch; None for never.
    """

    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


class Refused(Exception):
    """The request is not authenticated; ``kind`` is AWS's name for why. The status is 403."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class Authorization:
    """The ``authorization`` header in its parts; ``scope`` is date/region/service/terminator."""

    access_key_id: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str


def verify(
    request: Request,
    access_keys: Mapping[str, AccessKey],
    *,
    service: str,
    region: str | None = None,
    now: float | None = None,
) -> str:
    """The access key id that signed ``request``. ``region`` None takes any; ``now`` is seconds since the epoch.

    Raises:
        Refused: nobody known has signed it, or not this request, or not now.
    """
    now = time.time() if now is None else now
    authorization = parse_authorization(request)
    timestamp = _timestamp(request)
    key = _known(request, authorization.access_key_id, access_keys, now)
    _check_scope(authorization.scope, timestamp, service, region)
    _check_time(timestamp, now)
    _check_signed_headers(request, authorization.signed_headers)
    to_sign = "\n".join(
        (ALGORITHM, timestamp, authorization.scope, _digest(canonical_request(request, authorization.signed_headers)))
    )
    expected = hmac.new(_signing_key(key.secret, authorization.scope), to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), authorization.signature.encode()):
        raise _mismatch()
    return authorization.access_key_id


def access_key_id(request: Request) -> str | None:
    """Whose signature ``request`` claims to carry, unverified; None when it has none."""
    try:
        return parse_authorization(request).access_key_id
    except Refused:
        return None


def parse_authorization(request: Request) -> Authorization:
    """The ``authorization`` header.

    Raises:
        Refused: there is none, or a part of it is missing.
    """
    header = request.header(b"authorization")
    if not header:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = header.decode("latin-1").partition(" ")
    if algorithm != ALGORITHM:
        raise Refused("IncompleteSignatureException", f"Unsupported AWS 'algorithm'; expected '{ALGORITHM}'.")
    fields = dict(_pair(part) for part in rest.split(",") if part.strip())
    missing = [f"Authorization header requires '{name}' parameter." for name in _FIELDS if not fields.get(name)]
    if missing:
        raise Refused("IncompleteSignatureException", " ".join(missing))
    key_id, _, scope = fields["Credential"].partition("/")
    if scope.count("/") != 3:
        raise Refused(
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term",
        )
    names = tuple(sorted(name.lower() for name in fields["SignedHeaders"].split(";")))
    return Authorization(key_id, scope, names, fields["Signature"])


def canonical_request(request: Request, signed_headers: tuple[str, ...]) -> str:
    """What both sides hash; ``signed_headers`` in lower case, sorted."""
    lines = [request.method, _canonical_path(request.path), _canonical_query(request.query)]
    lines += [f"{name}:{_canonical_header(request, name.encode('latin-1'))}" for name in signed_headers]
    lines += ["", ";".join(signed_headers), hashlib.sha256(request.body).hexdigest()]
    return "\n".join(lines)


# --- parts of the canonical request -------------------------------------------------------------------------------


def _canonical_path(path: bytes) -> str:
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    ending = b"/" if kept and path.endswith(b"/") else b""
    return quote_from_bytes(b"/" + b"/".join(kept) + ending, safe="/" + _UNRESERVED)


def _canonical_query(query: bytes) -> str:
    pairs = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if part:
            pairs.append((_encoded_again(name), _encoded_again(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded_again(text: bytes) -> str:
    return quote(unquote_to_bytes(text.replace(b"+", b" ")), safe=_UNRESERVED)


def _canonical_header(request: Request, name: bytes) -> str:
    sent_as = b"host" if name == b":authority" else name
    values = (b" ".join(value.split()) for key, value in request.headers if key == sent_as)
    return b",".join(values).decode("utf-8", "surrogateescape")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


# --- checks -------------------------------------------------------------------------------------------------------


def _pair(part: str) -> tuple[str, str]:
    name, equals, value = part.strip().partition("=")
    if not equals:
        raise Refused(
            "IncompleteSignatureException", "not a valid key=value pair (missing equal-sign) in Authorization header"
        )
    return name, value


def _timestamp(request: Request) -> str:
    """The request's time, as it is signed."""
    text = (request.header(b"x-amz-date") or b"").decode("latin-1")
    if not text and (date := request.header(b"date")):
        try:
            parsed = email.utils.parsedate_to_datetime(date.decode("latin-1"))
        except ValueError:
            parsed = None
        text = "" if parsed is None else time.strftime(_TIMESTAMP, parsed.utctimetuple())
    try:
        time.strptime(text, _TIMESTAMP)
    except ValueError:
        raise Refused(
            "IncompleteSignatureException",
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ) from None
    return text


def _known(request: Request, key_id: str, access_keys: Mapping[str, AccessKey], now: float) -> AccessKey:
    key = access_keys.get(key_id)
    token = request.header(b"x-amz-security-token") or b""
    if key is None or not hmac.compare_digest(token, (key.session_token or "").encode()):
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    if key.expires_at is not None and now >= key.expires_at:
        raise Refused("ExpiredTokenException", "The security token included in the request is expired")
    return key


def _check_scope(scope: str, timestamp: str, service: str, region: str | None) -> None:
    date, of_region, of_service, terminator = scope.split("/")
    if date != timestamp[:8]:
        raise _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    if not of_region or (region is not None and of_region != region):
        raise _invalid(f"Credential should be scoped to a valid region, not '{of_region}'. ")
    if of_service != service:
        raise _invalid(f"Credential should be scoped to correct service: '{service}'. ")
    if terminator != _TERMINATOR:
        raise _invalid(f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', not '{terminator}'.")


def _check_time(timestamp: str, now: float) -> None:
    signed_at = calendar.timegm(time.strptime(timestamp, _TIMESTAMP))
    here = time.strftime(_TIMESTAMP, time.gmtime(now))
    if signed_at < now - SKEW_SECONDS:
        limit = time.strftime(_TIMESTAMP, time.gmtime(now - SKEW_SECONDS))
        raise _invalid(f"Signature expired: {timestamp} is now earlier than {limit} ({here} - 5 min.)")
    if signed_at > now + SKEW_SECONDS:
        limit = time.strftime(_TIMESTAMP, time.gmtime(now + SKEW_SECONDS))
        raise _invalid(f"Signature not yet current: {timestamp} is still later than {limit} ({here} + 5 min.)")


def _check_signed_headers(request: Request, signed: tuple[str, ...]) -> None:
    """Host and every ``x-amz-`` header must be signed, and what is said to be signed must be here."""
    if "host" not in signed and ":authority" not in signed:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    present = {name.decode("latin-1") for name, _ in request.headers}
    if "host" in present:
        present.add(":authority")
    if any(name.startswith("x-amz-") and name not in signed for name in present) or not present.issuperset(signed):
        raise _mismatch()


def _invalid(message: str) -> Refused:
    return Refused("InvalidSignatureException", message)


def _mismatch() -> Refused:
    return _invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )
