"""Claude's clients at Bedrock accounts: the Messages API's request, stream and errors, to and from
``/model/{id}/invoke``.

Both ends speak Claude's own JSON, so little is translated and the rest stays the bytes that it was. Two members of the
body are taken out and two are added. The events come out of their frames as they are, without Bedrock's additions.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.api.answer_reader import Ending
from relay_trio.api.metering import NOTHING
from relay_trio.api.pass_through import AllowList
from relay_trio.api.position import Form, Position
from relay_trio.api.whole_reader import WholeReader
from relay_trio.errors import BadRequest, UpstreamError, UpstreamProtocolError
from relay_trio.http import Headers, ResponseHead, UpstreamRequest, header
from relay_trio.settings.patterns import LONG_CONTEXT, bare_name
from relay_trio.vendors.bedrock.provider import (
    NEUTRAL_RESPONSE_HEADERS,
    check_form,
    check_signable,
    exception_of,
    signed_request,
)
from relay_trio.vendors.bedrock.stream import OWN_MEMBERS, chunk_bytes, error_of_document, parsed_object, reported_error
from relay_trio.vendors.bedrock.usage import known_by
from relay_trio.vendors.claude.stream import ClaudeFold
from relay_trio.vendors.claude.usage import ClaudeUsage
from relay_trio.vendors.translations.bridge import Bridge
from relay_trio.wire.event_stream import RawFrames, parse_frame
from relay_trio.wire.json_text import member_texts, value_text
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.usage import UsageStats
    from relay_trio.vendors.bedrock.settings import BedrockSettings
    from relay_trio.wire.event_stream import Frame

_FIRST_VERSION = "bedrock-2023-05-31"
"""Bedrock's name for ``anthropic-version: 2023-06-01``. Later versions have the same name everywhere."""

JSON: Headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
_CONSTRAINTS = AllowList(
    frozenset(),
    prefixes=(
        b"x-amzn-bedrock-guardrail",
        b"x-amzn-bedrock-trace",
        b"x-amzn-bedrock-performanceconfig-",
        b"x-amzn-bedrock-service-tier",
        b"x-amzn-bedrock-request-metadata",
    ),
)
"""Header fields of Bedrock's by which a client of any dialect constrains the answer."""

CLAUDE_IDS = ("anthropic.*", "*.anthropic.*", "arn:*")
_VERSION = re.compile(r"[0-9A-Za-z-]{1,40}", re.ASCII)
_BETA = re.compile(r"[0-9A-Za-z._-]{1,100}", re.ASCII)
_LONG_CONTEXT_BETA = "context-1m-2025-08-07"

_TYPE = re.compile(rb'\{\s*"type"\s*:\s*"([a-z0-9_]{1,64})"')
_OWN = b'"' + OWN_MEMBERS.encode()
_PING = b"event: ping\n"


class ClaudeOnBedrock:
    """``claude.messages`` at a Bedrock account."""

    hashes_body = True
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'

    def request(self, account: BedrockSettings, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
        """
        Raises:
            BadRequest: a header that goes into the body is not what it should be.
        """
        body, dropped = invoke_body(account, checked)
        headers = [*JSON, *_CONSTRAINTS.of(checked.headers)]
        check_signable(headers)
        request = signed_request(account, credential, "POST", invoke_target(account, checked), headers, body)
        return replace(request, dropped=dropped)

    def models(self, account: BedrockSettings) -> Sequence[str]:
        """What ``model_ids`` translates, and Bedrock's own names where they can only be Claude's."""
        return (*account.model_ids, *CLAUDE_IDS)

    def client_headers(self, head: ResponseHead, checked: CheckedRequest) -> Headers:
        """Only fields that Anthropic's API would send."""
        if head.status == 200 and checked.is_stream:
            return [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        return NEUTRAL_RESPONSE_HEADERS.of(head.headers)

    def answer(self, head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
        check_form(head, is_stream=checked.is_stream)
        known = known_by(head)
        if checked.is_stream:
            return SseTranslator(known)
        return WholeReader("usage", partial(ClaudeUsage, known=known), error_of_document)

    def error(self, head: ResponseHead, body: bytes) -> tuple[int, bytes] | None:
        return translated_error(exception_of(head), head.status, body)


# --- the request --------------------------------------------------------------------------------------------------


def model_id_of(account: BedrockSettings, checked: CheckedRequest) -> str:
    """The account's own name for the client's model."""
    assert checked.model is not None  # every route of the operation names one
    model = bare_name(checked.model)
    return account.model_ids.get(model, model)


def invoke_target(account: BedrockSettings, checked: CheckedRequest) -> bytes:
    """The path for the client's model, by the account's own name for it, escaped as AWS's own SDKs escape it. It has no
    suffix of Claude Code's: at Bedrock, a beta is what chooses the long context."""
    call = "invoke-with-response-stream" if checked.is_stream else "invoke"
    return f"/model/{quote(model_id_of(account, checked), safe='')}/{call}".encode()


def invoke_body(
    account: BedrockSettings, checked: CheckedRequest, *, max_tokens: int | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """The client's body without ``model`` and ``stream``, with version and betas from its headers, and without what
    Bedrock does not know; and the names of what it lacks therefore. Every other member stays the text that it was.
    ``max_tokens`` is added where the client's has none, as a request to count has.

    Raises:
        BadRequest: a header that goes into the body is not what it should be, or a member constrains the answer in a
            way that Bedrock has not.
    """
    bridge = Bridge(account.pass_capabilities)
    has_version = has_limit = False
    betas = _betas(checked)
    kept = []
    for name, text in member_texts(checked.body.decode()):
        if name in ("model", "stream"):
            continue
        if name == "inference_geo":
            raise BadRequest("inference_geo: this model is served by Amazon Bedrock, whose region is the account's")
        if name == "anthropic_beta":
            betas = _body_betas(text)
        elif (member := bridge.member(name, text)) is not None:
            kept.append(member)
            has_version = has_version or name == "anthropic_version"
            has_limit = has_limit or name == "max_tokens"
    added = [] if has_version else [f'"anthropic_version":{json.dumps(_version(checked))}']
    if max_tokens is not None and not has_limit:
        added.append(f'"max_tokens":{max_tokens}')
    if betas := bridge.betas(betas):
        added.append(f'"anthropic_beta":{json.dumps(betas)}')
    return ("{" + ",".join([*added, *kept]) + "}").encode(), bridge.dropped


def _version(checked: CheckedRequest) -> str:
    sent = (header(checked.headers, b"anthropic-version") or b"2023-06-01").decode("latin-1").strip()
    if not _VERSION.fullmatch(sent):
        raise BadRequest("anthropic-version: must be a version, such as 2023-06-01")
    return _FIRST_VERSION if sent == "2023-06-01" else sent


def _betas(checked: CheckedRequest) -> list[str]:
    sent = b",".join(value for name, value in checked.headers if name == b"anthropic-beta").decode("latin-1")
    betas = list(dict.fromkeys(beta.strip() for beta in sent.split(",") if beta.strip()))
    if checked.model is not None and checked.model.endswith(LONG_CONTEXT) and _LONG_CONTEXT_BETA not in betas:
        betas.append(_LONG_CONTEXT_BETA)
    if not all(_BETA.fullmatch(beta) for beta in betas):
        raise BadRequest("anthropic-beta: must be a list of betas with commas between them")
    return betas


def _body_betas(member: str) -> list[str]:
    betas = json.loads(value_text(member))
    if not isinstance(betas, list) or not all(isinstance(beta, str) and _BETA.fullmatch(beta) for beta in betas):
        raise BadRequest("anthropic_beta: must be a list of betas")
    return betas


# --- the stream ---------------------------------------------------------------------------------------------------


class SseTranslator:
    """Reads frames and makes server-sent events of them. After damage or an error nothing more comes out; the client's
    dialect then closes the stream."""

    is_error_forwarded = False
    position = Position(Form.EVENTS)  # an event comes out whole or not at all

    def __init__(self, known: Mapping[str, int | str] = NOTHING) -> None:
        """``known``: what the answer's head says of its usage."""
        self.error: UpstreamError | None = None
        self.has_substance = False
        self._frames = RawFrames()
        self._fold = ClaudeFold(known)

    @property
    def has_begun(self) -> bool:
        return self.has_substance

    @property
    def ending(self) -> Ending:
        return self._fold.ending if self.error is None else Ending.FINAL

    @property
    def is_complete(self) -> bool:
        return self._fold.ending is Ending.FINAL

    def feed(self, data: bytes) -> bytes:
        if self.error is not None:
            return b""
        events: list[bytes] = []
        try:
            for raw in self._frames.feed(data):
                if (event := self._translated(parse_frame(raw))) is not None:
                    events.append(event)
                if self.error is not None:
                    break
            damage = self._frames.damage
        except WireError as error:
            damage = str(error)
        if damage is not None and self.error is None:
            self._fold.spoil()
            self.error = UpstreamProtocolError(f"the upstream sent a damaged event stream: {damage}")
        if not self.has_substance:
            self.has_substance = any(not event.startswith(_PING) for event in events)
        return b"".join(events)

    def finish(self) -> UsageStats:
        return self._fold.stats()

    def _translated(self, frame: Frame) -> bytes | None:
        self.error = reported_error(frame)
        if self.error is not None or frame.headers.get(":event-type") != "chunk":
            return None
        event = chunk_bytes(frame.payload)
        if event is None:
            self.error = UpstreamProtocolError("the upstream sent a chunk that holds no event")
            return None
        if _OWN in event or b"\n" in event or b"\r" in event:
            event = _without_own_members(event)
        if ClaudeFold.is_worth_a_look(event):
            self._fold.observe(event)
            self.error = self._fold.error
            if self.error is not None:
                return None
        return b"event: " + _type(event) + b"\ndata: " + event + b"\n\n"


def _without_own_members(event: bytes) -> bytes:
    """``event`` on one line, without the members that Bedrock added."""
    members = parsed_object(event)
    if members is None:
        return b" ".join(event.split())
    kept = {name: value for name, value in members.items() if not name.startswith(OWN_MEMBERS)}
    return json.dumps(kept, separators=(",", ":")).encode()


def _type(event: bytes) -> bytes:
    """The name of the event, from its own member ``type``."""
    match = _TYPE.match(event)
    if match is not None:
        return match[1]
    members = parsed_object(event) or {}
    name = str(members.get("type", ""))
    return name.encode() if name.isidentifier() and name.isascii() else b"message"


# --- errors -------------------------------------------------------------------------------------------------------

_STATUS_AND_TYPE = {
    "ValidationException": (400, "invalid_request_error"),
    "ServiceQuotaExceededException": (429, "rate_limit_error"),
    "AccessDeniedException": (403, "permission_error"),
    "ResourceNotFoundException": (404, "not_found_error"),
    "ModelTimeoutException": (504, "timeout_error"),
    "ThrottlingException": (429, "rate_limit_error"),
    "ModelNotReadyException": (529, "overloaded_error"),
    "ServiceUnavailableException": (529, "overloaded_error"),
}
_OTHERS = (500, "api_error")
_UNNAMED = {400: "ValidationException", 404: "ResourceNotFoundException", 408: "ModelTimeoutException",
            429: "ThrottlingException", 503: "ServiceUnavailableException"}  # fmt: skip


def translated_error(exception: str, status: int, body: bytes) -> tuple[int, bytes]:
    """Status and body of Anthropic's API for an error of Bedrock's. ``exception`` is empty where the error has no
    name."""
    details = parsed_object(body) or {}
    message = details.get("message") or details.get("Message")
    if details.get("originalStatusCode") in (429, 503, 529):
        exception = "ServiceUnavailableException"
    claude_status, kind = _STATUS_AND_TYPE.get(exception or _UNNAMED.get(status, ""), _OTHERS)
    if not isinstance(message, str) or not message:
        message = f"the upstream answered {status}"
    if claude_status == 400 and (rejected := _rejected_capability(message)):
        message = f"{message} (capability_rejected: {rejected})"
    return claude_status, json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


_REJECTIONS = (
    (re.compile(r"(?:prompt|input) is too long", re.IGNORECASE), "prompt_too_long"),
    (re.compile(r"invalid beta flag", re.IGNORECASE), "beta"),
    (re.compile(r"([a-z_]{1,64}): Extra inputs are not permitted", re.IGNORECASE), ""),
    (re.compile(r"Input tag '([A-Za-z0-9_.-]{1,64})'"), ""),
    (
        re.compile(r"signature.{0,40}thinking|thinking.{0,60}(?:signature|bound to)", re.IGNORECASE),
        "thinking_signature",
    ),
    (re.compile(r"thinking", re.IGNORECASE), "thinking"),
)
"""What AWS and the models there write of what they do not take, and the token for it; empty: what stands in it."""


def _rejected_capability(message: str) -> str:
    """The stable name of what ``message`` says was refused; empty where it says something else."""
    for pattern, token in _REJECTIONS:
        match = pattern.search(message)
        if match is not None:
            return token or match[1]
    return ""
