"""The Gemini API: requests out, answers metered, errors judged. What it shares with Vertex AI is here too.

Clients of either service are served: a path is rewritten where the account is at the other one (``gemini_paths``).
Query and body go as they came, the query without what said who asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay_trio import __version__
from relay_trio.api.credential import Credential
from relay_trio.api.metering import Inflater, NullMeter
from relay_trio.api.model_list import ModelListFilter
from relay_trio.api.verdict import Meaning, Table, Verdict
from relay_trio.errors import UpstreamProtocolError
from relay_trio.http import UpstreamRequest, header, is_event_stream
from relay_trio.vendors.claude.stream import MessageMeter
from relay_trio.vendors.gemini.dialect import details_of, error_in
from relay_trio.vendors.gemini.paths import forwarded_query, parse_path
from relay_trio.vendors.gemini.stream import ArrayMeter, GeminiUsage, StreamMeter

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.http import Headers, ResponseHead
    from relay_trio.settings import AccountSettings

GENERATE = "gemini.generate"
STREAM = "gemini.stream"
COUNT_TOKENS = "gemini.count_tokens"
EMBED = "gemini.embed"
BATCH_EMBED = "gemini.batch_embed"
MODELS = "gemini.models"
PUBLISHER_MODELS = "gemini.publisher_models"
"""What a client can ask for; a route has the same name. The two services list models in two formats."""

_USER_AGENT = f"relay-trio/{__version__}".encode()
_REQUEST_HEADERS = frozenset({b"content-type", b"accept", b"x-server-timeout"})
_RESPONSE_HEADERS = frozenset({b"content-type", b"content-encoding", b"content-length", b"cache-control"})

_ABOUT_THE_KEY = "API_KEY"
_VERDICTS = Table(
    cooldowns={429: 10.0, 503: 2.0},
    statuses={499: Meaning.FAILED_ONCE},  # Google's own call was cancelled
    # FAILED_PRECONDITION is about the account's billing or country.
    names={_ABOUT_THE_KEY: Meaning.CREDENTIAL_REFUSED, "FAILED_PRECONDITION": Meaning.FAILED_ONCE},
)


class Gemini:
    """The provider ``gemini``."""

    name = "gemini"
    default_base_url = "https://generativelanguage.googleapis.com"
    operations = frozenset({GENERATE, STREAM, COUNT_TOKENS, EMBED, BATCH_EMBED, MODELS})
    hashes_bodies = False
    key_refusals = frozenset({400, 401, 403})

    def static_credential(self, account: AccountSettings) -> Credential:
        """The API key."""
        assert account.api_key is not None  # configuration has checked it
        return Credential(account.api_key.get_secret_value())

    def resolve_credential(self, account: AccountSettings) -> Credential:
        """As ``static_credential``."""
        return self.static_credential(account)

    def build_request(
        self, account: AccountSettings, incoming: CheckedRequest, credential: Credential
    ) -> UpstreamRequest:
        """The client's request with the account's key; query and body byte for byte, and the path if it was for us."""
        path = parse_path(incoming.raw_path)
        assert path is not None  # the route has checked it
        target = path.for_gemini() if path.is_vertex else incoming.raw_path
        return request_of(base_of(account, self.default_base_url), target, incoming, key_field(credential))

    def probe_request(self, account: AccountSettings, credential: Credential) -> UpstreamRequest:
        """One page of the model list: authenticated, and free."""
        headers: Headers = [(b"accept-encoding", b"identity"), (b"user-agent", _USER_AGENT), key_field(credential)]
        scheme, host, port, prefix = base_of(account, self.default_base_url)
        return UpstreamRequest("GET", scheme, host, port, prefix + b"/v1beta/models?pageSize=1", headers, b"")

    def accepts_probe(self, head: ResponseHead) -> bool:
        """Whether the list came."""
        return 200 <= head.status < 300

    def client_headers(self, head: ResponseHead, incoming: CheckedRequest) -> Headers:
        """By allow-list; a list that may be shortened has no length yet."""
        return client_headers(head, incoming)

    def new_meter(self, head: ResponseHead, incoming: CheckedRequest) -> AnswerReader:
        """See ``new_meter`` below."""
        return new_meter(head, incoming)

    def classify_error(self, head: ResponseHead, body: bytes, incoming: CheckedRequest, now: float) -> Verdict:
        """Judge an error status. A key that is wrong or has run out is a 400 here."""
        return verdict(head, body)


Base = tuple[str, str, int, bytes]
"""Scheme, host, port and the path in front of every other."""


def base_of(account: AccountSettings, default: str) -> Base:
    """Where requests go, out of the configuration alone."""
    url = urlsplit(account.base_url or default)
    assert url.hostname is not None  # configuration has checked it
    port = url.port or (443 if url.scheme == "https" else 80)
    return url.scheme, url.hostname, port, url.path.rstrip("/").encode()


def key_field(credential: Credential) -> tuple[bytes, bytes]:
    """An API key in its header."""
    return b"x-goog-api-key", str(credential.value).encode()


def request_of(base: Base, path: bytes, incoming: CheckedRequest, proof: tuple[bytes, bytes]) -> UpstreamRequest:
    """The client's request for ``path``, with the account's ``proof``.

    Raises:
        BadRequest: the query asks for what is not relayed.
    """
    scheme, host, port, prefix = base
    headers = [(name, value) for name, value in incoming.headers if name in _REQUEST_HEADERS]
    accepted = header(incoming.headers, b"accept-encoding") or b""
    is_compressible = b"gzip" in accepted.lower() and incoming.is_listed is None
    headers.append((b"accept-encoding", b"gzip" if is_compressible else b"identity"))
    headers += [(b"user-agent", _USER_AGENT), proof]
    query = forwarded_query(incoming.query)
    target = prefix + path + (b"?" + query if query else b"")
    return UpstreamRequest(incoming.method, scheme, host, port, target, headers, incoming.body)


def client_headers(head: ResponseHead, incoming: CheckedRequest) -> Headers:
    """The response headers a client may see. What else Google sends is about its own servers."""
    kept = _RESPONSE_HEADERS if incoming.is_listed is None else _RESPONSE_HEADERS - {b"content-length"}
    return [(name, value) for name, value in head.headers if name in kept]


def new_meter(head: ResponseHead, incoming: CheckedRequest) -> AnswerReader:
    """A meter for what came: events, an array, or one document.

    Raises:
        UpstreamProtocolError: the body is in an encoding that was not asked for, or a stream in no known form.
    """
    encoding = (header(head.headers, b"content-encoding") or b"identity").lower()
    accepted = (header(incoming.headers, b"accept-encoding") or b"").lower()
    if encoding != b"identity" and not (encoding == b"gzip" and b"gzip" in accepted and incoming.is_listed is None):
        raise UpstreamProtocolError(f"the upstream used content-encoding {encoding[:40]!r}, which was not asked for")
    inflater = Inflater() if encoding == b"gzip" else None
    if is_event_stream(head):
        return StreamMeter(inflater)
    if incoming.operation == STREAM:
        if not (header(head.headers, b"content-type") or b"").lower().startswith(b"application/json"):
            raise UpstreamProtocolError("the upstream answered with neither an event stream nor JSON")
        return ArrayMeter(inflater)
    if incoming.operation in (GENERATE, EMBED, BATCH_EMBED):
        needs_total = incoming.operation == GENERATE
        return MessageMeter(inflater, member="usageMetadata", new_fold=lambda: GeminiUsage(needs_total=needs_total))
    if incoming.is_listed is not None:
        return ModelListFilter({"models": "name", "publisherModels": "name"}, incoming.is_listed)
    return NullMeter()


def verdict(head: ResponseHead, body: bytes) -> Verdict:
    """What an error status means (Gemini API, "Troubleshooting"; Vertex AI, "API errors")."""
    error = _error_of(head, body)
    return _VERDICTS.judge(head.status, _name_of(head.status, error), retry_delay(error))


def _name_of(status: int, error: dict[str, object]) -> str:
    """The error's name where its status, 400, does not tell what it is about."""
    if status != 400:
        return ""
    return _ABOUT_THE_KEY if _is_about_the_key(error) else str(error.get("status"))


def retry_delay(error: dict[str, object]) -> float | None:
    """Seconds to wait by the error's ``RetryInfo``, a duration like ``34.4s``; None when it names none."""
    text = details_of(error, "RetryInfo").get("retryDelay")
    if not isinstance(text, str) or not text.endswith("s") or not text[:-1].replace(".", "", 1).isdecimal():
        return None
    return float(text[:-1])


def _error_of(head: ResponseHead, body: bytes) -> dict[str, object]:
    if header(head.headers, b"content-encoding") == b"gzip":
        body = Inflater().feed(body)
    try:
        return error_in(json.loads(body)) or {}
    except (ValueError, RecursionError):
        return {}


def _is_about_the_key(error: dict[str, object]) -> bool:
    if details_of(error, "ErrorInfo").get("reason") in ("API_KEY_INVALID", "API_KEY_EXPIRED"):
        return True
    return str(error.get("message")).lower().startswith("api key")
