"""Anthropic's Messages API: requests out, answers metered, errors judged and told.

Facts and their sources are in the wire notes of Anthropic's API reference (errors, streaming, rate limits) and in
recorded streams; both generations of clients are served: ``x-api-key`` with version 2023-06-01 and ``Authorization:
Bearer`` with 2026-10-21. The client's ``anthropic-version`` and ``anthropic-beta`` go upstream as sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay_trio.api.answer_reader import NullReader
from relay_trio.api.credential import Credential, masked
from relay_trio.api.inflater import InflatedReader, inflater_for
from relay_trio.api.model_list import ModelListFilter
from relay_trio.api.probe_answer import ProbeAnswer, probe_answer
from relay_trio.api.retry_after import retry_after_seconds
from relay_trio.api.sse_reader import SseReader
from relay_trio.api.verdict import Meaning, Table, Verdict
from relay_trio.http import Headers, ResponseHead, UpstreamRequest, header, header_text, is_event_stream
from relay_trio.vendors.claude.operations import BATCHES, COUNT_TOKENS, MESSAGES, MODELS
from relay_trio.vendors.claude.settings import ClaudeSettings
from relay_trio.vendors.claude.stream import ClaudeFold, new_message_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.settings import AccountSettings

_OAUTH_BETA = b"oauth-2025-04-20"

_REQUEST_HEADERS = frozenset({b"content-type", b"accept", b"anthropic-version", b"anthropic-beta"})
_RESPONSE_HEADERS = frozenset(
    {b"content-type", b"content-encoding", b"content-length", b"cache-control", b"retry-after", b"x-should-retry"}
)
_RESPONSE_PREFIX = b"anthropic-ratelimit-"

_VERDICTS = Table(cooldowns={429: 10.0, 503: 2.0, 529: 2.0}, statuses={402: Meaning.UNPAID})


class PassThrough:
    """An operation of Anthropic's API: path, query and body byte for byte, with the account's credential."""

    hashes_body = False

    def __init__(self, new_reader: Callable[[], AnswerReader] | None = None) -> None:
        """``new_reader`` makes the reader of an answer that is no stream; None: such an answer has no tokens."""
        self._new_reader = new_reader

    def request(self, account: AccountSettings, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
        headers = [(name, value) for name, value in checked.headers if name in _REQUEST_HEADERS]
        accepted = header(checked.headers, b"accept-encoding") or b""
        is_compressible = b"gzip" in accepted.lower() and checked.is_listed is None
        headers.append((b"accept-encoding", b"gzip" if is_compressible else b"identity"))
        target = _target(checked.raw_path, checked.query)
        return _request(account, credential, checked.method, target, headers, checked.body)

    def client_headers(self, head: ResponseHead, checked: CheckedRequest) -> Headers:
        """By allow-list; upstream ids, cookies and hop-by-hop fields stay behind."""
        return [
            (name, value)
            for name, value in head.headers
            if (name in _RESPONSE_HEADERS or name.startswith(_RESPONSE_PREFIX))
            and (name != b"content-length" or checked.is_listed is None)  # a list may be shortened
        ]

    def answer(self, head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
        inflater = inflater_for(head, checked)
        if is_event_stream(head):
            reader: AnswerReader = SseReader(ClaudeFold())
        elif checked.is_listed is not None:
            return ModelListFilter({"data": "id"}, checked.is_listed)
        elif self._new_reader is None:
            return NullReader()
        else:
            reader = self._new_reader()
        return reader if inflater is None else InflatedReader(reader, inflater)

    def error(self, head: ResponseHead, body: bytes) -> tuple[int, bytes] | None:
        return None


class Claude:
    """The provider ``anthropic``."""

    name = "anthropic"
    settings_class = ClaudeSettings
    calls: Mapping[str, Call[ClaudeSettings]] = {
        MESSAGES.name: PassThrough(new_message_reader),
        **dict.fromkeys((COUNT_TOKENS.name, MODELS.name, BATCHES.name), PassThrough()),
    }

    def describe_credential(self, account: ClaudeSettings) -> str:
        """Which key."""
        return f"key {masked(account.api_key.get_secret_value())}"

    def static_credential(self, account: ClaudeSettings) -> Credential:
        """The API key, or an OAuth token."""
        return Credential(account.api_key.get_secret_value())

    def resolve_credential(self, account: ClaudeSettings) -> Credential:
        """As ``static_credential``."""
        return self.static_credential(account)

    def probe_request(self, account: AccountSettings, credential: Credential) -> UpstreamRequest:
        """One page of the model list: authenticated, and free."""
        headers = [(b"anthropic-version", b"2023-06-01"), (b"accept-encoding", b"identity")]
        return _request(account, credential, "GET", b"/v1/models?limit=1", headers, b"")

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        """By the status alone."""
        return probe_answer(head.status)

    def request_id(self, head: ResponseHead) -> str:
        """``request-id``, such as ``req_011C…``."""
        return header_text(head.headers, b"request-id")

    def price_of(self, model: str) -> Sequence[tuple[str, str]]:
        return [("anthropic", model)]

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        """By the status alone (Anthropic's API reference, "Errors")."""
        wait = retry_after_seconds(header(head.headers, b"retry-after"), now)
        return _VERDICTS.judge(head.status, retry_after=wait)


def _request(
    account: AccountSettings, credential: Credential, method: str, target: bytes, headers: Headers, body: bytes
) -> UpstreamRequest:
    _add_credential(headers, credential)
    return account.address.request(method, target, headers, body)


def _target(raw_path: bytes, query: bytes) -> bytes:
    return raw_path + b"?" + query if query else raw_path


def _add_credential(headers: Headers, credential: Credential) -> None:
    secret = str(credential.value).encode()
    if not secret.startswith(b"sk-ant-oat"):
        headers.append((b"x-api-key", secret))
        return
    headers.append((b"authorization", b"Bearer " + secret))
    betas = header(headers, b"anthropic-beta")
    if betas is None:
        headers.append((b"anthropic-beta", _OAUTH_BETA))
    elif _OAUTH_BETA not in betas:
        headers[:] = [
            (name, value + b"," + _OAUTH_BETA if name == b"anthropic-beta" else value) for name, value in headers
        ]
