"""The provider of Anthropic's own API: its requests, the readers of its answers, its verdicts and its credentials.

The sources are Anthropic's API reference (errors, streaming, rate limits) and recorded streams. Both generations of
clients are served: those that send ``x-api-key`` with version 2023-06-01, and those that send ``Authorization: Bearer``
with version 2026-10-21. Every ``anthropic-`` field of the client's goes upstream as it came.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from relay_trio.api.credential import Credential, masked
from relay_trio.api.error_answers import plain_body
from relay_trio.api.pass_through import AllowList, PassThrough, accept_encoding, reader_for
from relay_trio.api.probe_answer import ProbeAnswer, probe_answer
from relay_trio.api.retry_after import retry_after_seconds
from relay_trio.api.verdict import Meaning, Verdict, VerdictTable
from relay_trio.errors import BadRequest, UpstreamProtocolError
from relay_trio.http import (
    Headers,
    ResponseHead,
    UpstreamRequest,
    header,
    header_text,
    is_event_stream,
    target_of,
)
from relay_trio.settings.patterns import bare_name
from relay_trio.vendors.claude.batch_results import BatchResults, batch_of
from relay_trio.vendors.claude.operations import BATCHES, COUNT_TOKENS, MESSAGES, MODELS
from relay_trio.vendors.claude.settings import ClaudeSettings
from relay_trio.vendors.claude.stream import ClaudeFold, new_document_reader, new_message_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.settings import AccountSettings

_GUARDRAIL = b"x-amzn-bedrock-guardrail"
_OAUTH_BETA = b"oauth-2025-04-20"

_REQUEST_HEADERS = AllowList(frozenset({b"content-type", b"accept"}), prefixes=(b"anthropic-",))
"""Anthropic's own fields are an open list: new ones come with new releases of its clients, and some are required."""

_RESPONSE_HEADERS = AllowList(
    frozenset(
        {b"content-type", b"content-encoding", b"content-length", b"cache-control", b"retry-after", b"x-should-retry"}
    ),
    prefixes=(b"anthropic-ratelimit-",),
)

_UNPAID = "unpaid"
_VERDICTS = VerdictTable(
    cooldowns={429: 10.0, 503: 2.0, 529: 2.0}, statuses={402: Meaning.UNPAID}, names={_UNPAID: Meaning.UNPAID}
)
_ABOUT_MONEY = re.compile(
    r"Your credit balance is too low[^:]*"
    r"|This organization has been disabled[^:]*"
    r"|You have reached your specified [a-zA-Z ]{0,20}usage limits\."
    r" You will regain access on (?P<date>[0-9-]{10})( at (?P<time>[0-9:]{5}) UTC)?\.?"
)
"""What a 400 says that is the account's own. The whole message counts: a client can choose how one begins, by the name
of a member that does not exist, and a colon follows that name."""


def _passed(account: ClaudeSettings, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
    """The client's request, byte for byte in path, query and body, with the account's credential.

    Raises:
        BadRequest: it names a guardrail, which would be bypassed here without a word.
    """
    if any(name.startswith(_GUARDRAIL) for name, _ in checked.headers):
        raise BadRequest("x-amzn-bedrock-guardrailidentifier: only Amazon Bedrock applies it, which serves other names")
    headers = [*_REQUEST_HEADERS.of(checked.headers), accept_encoding(checked)]
    target = target_of(checked.raw_path, checked.query)
    return _request(account, credential, checked.method, target, headers, checked.body)


def _pass_through(new_reader: Callable[[], AnswerReader] | None = None) -> PassThrough[ClaudeSettings]:
    """A call whose answer, when it is no stream, ``new_reader`` reads; None: it need not be one document."""

    def answer(head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
        if checked.is_stream and not is_event_stream(head):
            raise UpstreamProtocolError("the upstream answered with something else than an event stream")
        return reader_for(head, checked, new_fold=ClaudeFold, new_reader=new_reader)

    return PassThrough(_passed, answer, _RESPONSE_HEADERS)


def _batch_reader(head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
    """Of the answers about batches, only the results have tokens."""
    batch_id = batch_of(checked.raw_path)
    new_reader = None if batch_id is None else partial(BatchResults, batch_id)
    return reader_for(head, checked, new_fold=ClaudeFold, new_reader=new_reader)


class Claude:
    """The provider ``anthropic``."""

    name = "anthropic"
    settings_class = ClaudeSettings
    calls: Mapping[str, Call[ClaudeSettings]] = {
        MESSAGES.name: _pass_through(new_message_reader),
        **dict.fromkeys((COUNT_TOKENS.name, MODELS.name), _pass_through(new_document_reader)),
        BATCHES.name: PassThrough(_passed, _batch_reader, _RESPONSE_HEADERS),
    }

    def describe_credential(self, account: ClaudeSettings) -> str:
        """The masked key."""
        return f"key {masked(account.api_key.get_secret_value())}"

    def credential(self, account: ClaudeSettings) -> Credential:
        """The API key, or an OAuth token."""
        return Credential(account.api_key.get_secret_value())

    def probe_request(self, account: AccountSettings, credential: Credential) -> UpstreamRequest:
        """A request for one model of the list: it needs the credential, and is free."""
        headers = [(b"anthropic-version", b"2023-06-01"), (b"accept-encoding", b"identity")]
        return _request(account, credential, "GET", b"/v1/models?limit=1", headers, b"")

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        """The status alone shows it."""
        return probe_answer(head.status)

    def request_id(self, head: ResponseHead) -> str:
        """``request-id``, such as ``req_011C…``."""
        return header_text(head.headers, b"request-id")

    def price_of(self, account: ClaudeSettings, model: str) -> Sequence[tuple[str, str]]:
        return [("anthropic", bare_name(model))]

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        """The status decides (Anthropic's API reference, "Errors"), but for a 400 that is about the account's money."""
        wait = retry_after_seconds(header(head.headers, b"retry-after"), now)
        about_money = _about_money(plain_body(head, body)) if head.status == 400 else None
        if about_money is None:
            return _VERDICTS.judge(head.status, retry_after=wait)
        verdict = _VERDICTS.judge(head.status, _UNPAID)
        seconds = _seconds_until(about_money["date"], about_money["time"], now)
        return verdict if seconds is None else replace(verdict, cooldown_seconds=seconds, is_dated=True)


def _about_money(body: bytes) -> re.Match[str] | None:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return _ABOUT_MONEY.fullmatch(message) if isinstance(message, str) else None


def _seconds_until(date: str | None, time_of_day: str | None, now: float) -> float | None:
    """How long it is from ``now`` until then; None where that is no date to come."""
    try:
        then = datetime.fromisoformat(f"{date}T{time_of_day or '00:00'}").replace(tzinfo=UTC)
    except ValueError:
        return None
    seconds = then.timestamp() - now
    return seconds if seconds > 0 else None


def _request(
    account: AccountSettings, credential: Credential, method: str, target: bytes, headers: Headers, body: bytes
) -> UpstreamRequest:
    _add_credential(headers, credential)
    return account.address.request(method, target, headers, body)


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
