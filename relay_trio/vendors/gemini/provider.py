"""The provider of the Gemini API, and what it shares with the provider of Vertex AI.

Clients of both services are served: the path is rewritten where the account is at the other service (``paths``). The
body goes as it came, and so does the query, without the client's credential.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from relay_trio.api.credential import Credential, masked
from relay_trio.api.error_answers import plain_body
from relay_trio.api.pass_through import AllowList, PassThrough, accept_encoding, reader_for
from relay_trio.api.probe_answer import ProbeAnswer, probe_answer
from relay_trio.api.verdict import Meaning, Verdict, VerdictTable
from relay_trio.api.whole_reader import WholeReader
from relay_trio.errors import UpstreamProtocolError
from relay_trio.http import UpstreamRequest, header, header_text, is_event_stream, target_of
from relay_trio.settings.account import AccountSettings
from relay_trio.vendors.gemini.dialect import details_of, error_in
from relay_trio.vendors.gemini.operations import BATCH_EMBED, COUNT_TOKENS, EMBED, GENERATE, MODELS, STREAM
from relay_trio.vendors.gemini.paths import forwarded_query, parse_path
from relay_trio.vendors.gemini.settings import GeminiSettings
from relay_trio.vendors.gemini.stream import ArrayReader, GeminiFold, error_of_document
from relay_trio.vendors.gemini.usage import GeminiUsage

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.operation import Operation
    from relay_trio.http import Headers, ResponseHead

PROBE_REFUSALS = frozenset({400, 401, 403})
"""Statuses by which Google refuses a credential: for an API key it is 400."""

_REQUEST_HEADERS = AllowList(frozenset({b"content-type", b"accept", b"x-server-timeout"}))
_RESPONSE_HEADERS = AllowList(frozenset({b"content-type", b"content-encoding", b"content-length", b"cache-control"}))

_ABOUT_THE_KEY = "API_KEY"
_UNSERVED = "UNSERVED"
_HIDDEN = "HIDDEN"
_UNSERVED_REASONS = frozenset({"SERVICE_DISABLED", "CONSUMER_INVALID", "CONSUMER_SUSPENDED"})
"""Reasons of a 403 for which the account's project is served nothing."""

_ABOUT_THE_PLACE = re.compile("User location is not supported|Gemini API free tier is not available in your country")
"""How a failed precondition begins that is the account's country's."""

_VERDICTS = VerdictTable(
    cooldowns={429: 10.0, 503: 2.0},
    statuses={499: Meaning.FAILED_ONCE},  # Google's own call was cancelled
    names={
        _ABOUT_THE_KEY: Meaning.CREDENTIAL_REFUSED,
        "BILLING_DISABLED": Meaning.UNPAID,
        _UNSERVED: Meaning.UNSERVED,
        "USER_PROJECT_DENIED": Meaning.LACKS_MODEL,  # the quota project, which may be the client's own
        _HIDDEN: Meaning.LACKS_MODEL,
        "FAILED_PRECONDITION": Meaning.FAILED_ONCE,
    },
)

_READERS: Mapping[str, Callable[[], AnswerReader]] = {
    GENERATE.name: partial(WholeReader, "usageMetadata", GeminiUsage, error_of_document, ("candidates",)),
    STREAM.name: ArrayReader,
    **dict.fromkeys(
        (EMBED.name, BATCH_EMBED.name),
        partial(WholeReader, "usageMetadata", partial(GeminiUsage, needs_total=False), error_of_document),
    ),
}
"""What reads the answer of an operation where it is no event stream; the answers of the others have no tokens."""


_new_document_reader = partial(WholeReader, "", None, error_of_document)

_Settings = TypeVar("_Settings", bound=AccountSettings)

PathAndField = Callable[[_Settings, "CheckedRequest", Credential], tuple[bytes, tuple[bytes, bytes]]]
"""Returns the path of a request at the account's service, and the header field that the account authenticates with."""


def key_field(credential: Credential) -> tuple[bytes, bytes]:
    """The header field with an API key."""
    return b"x-goog-api-key", str(credential.value).encode()


def calls_by(path_and_field: PathAndField[_Settings], operations: Iterable[Operation]) -> Mapping[str, Call[_Settings]]:
    """The calls of a provider for ``operations``, all of them with ``path_and_field``."""
    request = partial(_passed, path_and_field)
    return {
        operation.name: PassThrough(request, partial(_reader_of, operation), _RESPONSE_HEADERS)
        for operation in operations
    }


def _passed(
    path_and_field: PathAndField[_Settings], account: _Settings, checked: CheckedRequest, credential: Credential
) -> UpstreamRequest:
    """The client's request, byte for byte in query and body.

    Raises:
        BadRequest: the query has a parameter that is not relayed.
    """
    path, authorization = path_and_field(account, checked, credential)
    headers = [*_REQUEST_HEADERS.of(checked.headers), accept_encoding(checked), authorization]
    target = target_of(path, forwarded_query(checked.query))
    return account.address.request(checked.method, target, headers, checked.body)


def _reader_of(operation: Operation, head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
    """The reader of what came: events, an array, or one document."""
    if operation is STREAM and not is_event_stream(head) and (_requests_events(checked) or not _is_json(head)):
        raise UpstreamProtocolError("the upstream answered with something else than a stream of the requested form")
    new_reader = _READERS.get(operation.name, _new_document_reader)
    return reader_for(head, checked, new_fold=GeminiFold, new_reader=new_reader)


def _requests_events(checked: CheckedRequest) -> bool:
    return b"alt=sse" in checked.query.split(b"&")


def _is_json(head: ResponseHead) -> bool:
    return (header(head.headers, b"content-type") or b"").lower().startswith(b"application/json")


def judge(head: ResponseHead, body: bytes) -> Verdict:
    """What an error status means (Gemini API, "Troubleshooting"; Vertex AI, "API errors")."""
    error = _error_of(head, body)
    return _VERDICTS.judge(head.status, _name_of(head.status, error), retry_delay(error))


def _name_of(status: int, error: dict[str, object]) -> str:
    """The error's name, where its status is 400 or 403, which mean too much; else empty."""
    if status == 403:
        reason = str(details_of(error, "ErrorInfo").get("reason"))
        return _UNSERVED if reason in _UNSERVED_REASONS else reason
    if status != 400:
        return ""
    if _is_about_the_key(error):
        return _ABOUT_THE_KEY
    name, message = str(error.get("status")), str(error.get("message"))
    if name != "FAILED_PRECONDITION":
        return name
    if _ABOUT_THE_PLACE.match(message):
        return _UNSERVED
    return _HIDDEN if "billing" in message.lower() else name


def retry_delay(error: dict[str, object]) -> float | None:
    """Seconds to wait, by the error's ``RetryInfo``, a duration such as ``34.4s``; None where it has none."""
    text = details_of(error, "RetryInfo").get("retryDelay")
    if not isinstance(text, str) or not text.endswith("s") or not text[:-1].replace(".", "", 1).isdecimal():
        return None
    return float(text[:-1])


def _error_of(head: ResponseHead, body: bytes) -> dict[str, object]:
    try:
        return error_in(json.loads(plain_body(head, body))) or {}
    except (ValueError, RecursionError):
        return {}


def _is_about_the_key(error: dict[str, object]) -> bool:
    if details_of(error, "ErrorInfo").get("reason") in ("API_KEY_INVALID", "API_KEY_EXPIRED"):
        return True
    return str(error.get("message")).lower().startswith("api key")


def _path_and_field(
    account: GeminiSettings, checked: CheckedRequest, credential: Credential
) -> tuple[bytes, tuple[bytes, bytes]]:
    path = parse_path(checked.raw_path)
    assert path is not None  # the route has checked it
    target = path.for_gemini() if path.is_vertex else checked.raw_path
    return target, key_field(credential)


class Gemini:
    """The provider ``gemini``."""

    name = "gemini"
    settings_class = GeminiSettings
    calls = calls_by(_path_and_field, (GENERATE, STREAM, COUNT_TOKENS, EMBED, BATCH_EMBED, MODELS))

    def describe_credential(self, account: GeminiSettings) -> str:
        """The masked key."""
        return f"key {masked(account.api_key.get_secret_value())}"

    def credential(self, account: GeminiSettings) -> Credential:
        """The API key."""
        return Credential(account.api_key.get_secret_value())

    def probe_request(self, account: AccountSettings, credential: Credential) -> UpstreamRequest:
        """A request for one model of the list: it needs the credential, and is free."""
        headers: Headers = [(b"accept-encoding", b"identity"), key_field(credential)]
        return account.address.request("GET", b"/v1beta/models?pageSize=1", headers, b"")

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        """The status alone shows it."""
        return probe_answer(head.status, PROBE_REFUSALS)

    def request_id(self, head: ResponseHead) -> str:
        """``request-id``, of a gateway in front of Google: Google's own answers have none."""
        return header_text(head.headers, b"request-id")

    def price_of(self, account: GeminiSettings, model: str) -> Sequence[tuple[str, str]]:
        return [("google", model)]

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        """The error's name decides where the status is 400: that is also how a wrong key is refused."""
        return judge(head, body)
