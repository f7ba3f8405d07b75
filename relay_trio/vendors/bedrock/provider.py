"""The provider of Amazon Bedrock: its signed requests, the readers of its answers, its verdicts and its credentials.

Requests of the Bedrock runtime's own clients pass byte for byte: path, body and frames. Requests of other dialects are
translated (``vendors/translations``). Both go out with the account's own signature or API key; what the client
authenticated with stays here, and so does every ``x-amz-`` header.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from relay_trio.api.credential import masked
from relay_trio.api.pass_through import AllowList, PassThrough
from relay_trio.api.probe_answer import ProbeAnswer, probe_answer
from relay_trio.api.retry_after import retry_after_seconds
from relay_trio.api.verdict import Meaning, Verdict, VerdictTable
from relay_trio.api.whole_reader import WholeReader
from relay_trio.errors import (
    BadRequest,
    UpstreamProtocolError,
)
from relay_trio.http import UpstreamRequest, header, header_text, target_of
from relay_trio.settings.patterns import bare_name
from relay_trio.vendors.bedrock.credentials import chained_credential, fixed_credential
from relay_trio.vendors.bedrock.operations import (
    CONVERSE,
    CONVERSE_STREAM,
    COUNT_TOKENS,
    INFERENCE_PROFILES,
    INVOKE,
    INVOKE_STREAM,
)
from relay_trio.vendors.bedrock.settings import BedrockSettings
from relay_trio.vendors.bedrock.signing import AwsKeys, signed_headers, signing
from relay_trio.vendors.bedrock.stream import ConverseStreamReader, InvokeStreamReader, error_of_document
from relay_trio.vendors.bedrock.usage import BESIDE_USAGE, ConverseUsage, invoke_usage, known_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential, ResolveCredential
    from relay_trio.http import BaseAddress, Headers, ResponseHead

_EVENT_STREAM = b"application/vnd.amazon.eventstream"

_OWN_PREFIX = b"x-amzn-bedrock-"
_REQUEST_HEADERS = AllowList(frozenset({b"content-type", b"accept"}), prefixes=(_OWN_PREFIX,))
NEUTRAL_RESPONSE_HEADERS = AllowList(frozenset({b"content-type", b"content-length", b"cache-control", b"retry-after"}))
"""What clients of any dialect may see."""

_RESPONSE_HEADERS = AllowList(NEUTRAL_RESPONSE_HEADERS.names | {b"x-amzn-errortype"}, prefixes=(_OWN_PREFIX,))

_SIGNABLE_VALUE = re.compile(rb"[\x21-\x7e](?:[ \x21-\x7e]*[\x21-\x7e])?|")
_SIGNABLE_QUERY = re.compile(rb"(?:[A-Za-z0-9._~=&-]|%[0-9A-F]{2})*")
"""What AWS and the relay are sure to read alike. AWS would refuse a signature over anything that it reads differently,
and that refusal would count against the account for what a client wrote."""

_LACKS_MODEL = "LACKS_MODEL"
_NOT_HERE = "NOT_HERE"
_ABOUT_A_MODEL = {
    "AccessDeniedException": (
        re.compile("You don't have access to the model with the specified model ID|Model access is denied due to "),
        _LACKS_MODEL,
    ),
    "ResourceNotFoundException": (re.compile("Model use case details have not been submitted"), _LACKS_MODEL),
    "ValidationException": (re.compile(r"The provided model identifier is invalid\.?$"), _NOT_HERE),
}
"""How messages begin that are about one model at this account or in its region, by exception, and their names in the
table."""

_VERDICTS = VerdictTable(
    cooldowns={429: 5.0, 503: 2.0},
    statuses={408: Meaning.TIMED_OUT, 424: Meaning.FAILED_ONCE},  # 424: the model failed this once
    names={
        "ServiceQuotaExceededException": Meaning.LIMITED,
        **dict.fromkeys(
            ("UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException"),
            Meaning.CREDENTIAL_REFUSED,
        ),
        _LACKS_MODEL: Meaning.LACKS_MODEL,
        _NOT_HERE: Meaning.NOT_HERE,
    },
)
_ACCEPTED_PROBES = frozenset({"ValidationException", "ResourceNotFoundException"})


def _passed(
    account: BedrockSettings, checked: CheckedRequest, credential: Credential, *, is_control: bool = False
) -> UpstreamRequest:
    """The client's request, byte for byte in path, query and body, signed by the account. ``is_control``: the control
    plane serves it.

    Raises:
        BadRequest: a header or the query could not be signed so that AWS is sure to agree.
    """
    headers = _REQUEST_HEADERS.of(checked.headers)
    check_signable(headers)
    if not _SIGNABLE_QUERY.fullmatch(checked.query):
        raise BadRequest("the query must be percent-encoded, with capital letters")
    target = target_of(checked.raw_path, checked.query)
    address = account.control_address if is_control else account.address
    return signed_request(account, credential, checked.method, target, headers, checked.body, address)


def check_signable(headers: Headers) -> None:
    """
    Raises:
        BadRequest: one of the client's ``headers`` could not be signed so that AWS is sure to agree.
    """
    if not all(_SIGNABLE_VALUE.fullmatch(value) for _, value in headers):
        raise BadRequest("a header holds characters that are not ASCII")


def _pass_through(
    new_reader: Callable[[ResponseHead], AnswerReader], *, is_stream: bool = False, is_control: bool = False
) -> PassThrough[BedrockSettings]:
    """A call to the runtime, or to the control plane. ``new_reader`` makes what reads an answer with that head."""

    def answer(head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
        check_form(head, is_stream=is_stream)
        return new_reader(head)

    return PassThrough(partial(_passed, is_control=is_control), answer, _RESPONSE_HEADERS, hashes_body=True)


def check_form(head: ResponseHead, *, is_stream: bool) -> None:
    """
    Raises:
        UpstreamProtocolError: the answer is compressed, or is no event stream where one was requested.
    """
    if header(head.headers, b"content-encoding") not in (None, b"identity"):
        raise UpstreamProtocolError("the upstream used a content-encoding, and none was requested")
    if is_stream and not (header(head.headers, b"content-type") or b"").lower().startswith(_EVENT_STREAM):
        raise UpstreamProtocolError("the upstream answered with something else than an event stream")


def _invoke_reader(head: ResponseHead) -> AnswerReader:
    return WholeReader("usage", partial(invoke_usage, known_by(head)), error_of_document)


def _converse_reader(head: ResponseHead) -> AnswerReader:
    return WholeReader("usage", partial(ConverseUsage, known_by(head)), error_of_document, BESIDE_USAGE)


def _document_reader(head: ResponseHead) -> AnswerReader:
    return WholeReader("", None, error_of_document)


NATIVE_CALLS: Mapping[str, Call[BedrockSettings]] = {
    INVOKE.name: _pass_through(_invoke_reader),
    INVOKE_STREAM.name: _pass_through(lambda head: InvokeStreamReader(known_by(head)), is_stream=True),
    CONVERSE.name: _pass_through(_converse_reader),
    CONVERSE_STREAM.name: _pass_through(lambda head: ConverseStreamReader(), is_stream=True),
    COUNT_TOKENS.name: _pass_through(_document_reader),
    INFERENCE_PROFILES.name: _pass_through(_document_reader, is_control=True),
}
"""The operations of Bedrock's own clients."""


class Bedrock:
    """The provider ``bedrock``."""

    name = "bedrock"
    settings_class = BedrockSettings

    def __init__(self, translations: Mapping[str, Call[BedrockSettings]] | None = None) -> None:
        """``translations``: the calls for other dialects' operations, by the operation's name."""
        self.calls: Mapping[str, Call[BedrockSettings]] = {**NATIVE_CALLS, **(translations or {})}

    def describe_credential(self, account: BedrockSettings) -> str:
        """The masked key or pair, or the profile, and the role that is assumed with it."""
        if account.api_key is not None:
            return f"key {masked(account.api_key.get_secret_value())}"
        if account.access_key_id is not None:
            source = f"access key {masked(account.access_key_id.get_secret_value())}"
        else:
            source = "AWS default chain" if account.profile is None else f"profile {account.profile}"
        role = account.assume_role_arn
        return source if role is None else f"{source}, role {role.rpartition('/')[2]}"

    def credential(self, account: BedrockSettings) -> Credential | ResolveCredential:
        """A Bedrock API key or a fixed pair, or what botocore's chain finds. This is called when the account is made,
        so signing is imported then."""
        if account.api_key is None:
            signing()
        return fixed_credential(account) or partial(chained_credential, account)

    def price_of(self, account: BedrockSettings, model: str) -> Sequence[tuple[str, str]]:
        """AWS's list, by the id that the account has for ``model``, or the one at the end of its ARN. A profile of the
        account's own has a number there, so the client's name follows. A name without a dot is a Claude client's:
        Anthropic's list has it, at the price without a region's premium."""
        model = bare_name(model)
        places = [("aws", account.model_ids.get(model, model).rpartition("/")[2]), ("aws", model)]
        return places if "." in model else [*places, ("anthropic", model)]

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        """The exception's name decides, where there is one (Bedrock API reference, "Common errors"), and its message
        where it is about a model."""
        wait = retry_after_seconds(header(head.headers, b"retry-after"), now)
        return _VERDICTS.judge(head.status, _name_of(exception_of(head), body), wait)

    def probe_request(self, account: BedrockSettings, credential: Credential) -> UpstreamRequest:
        """An empty request for a model that does not exist: it is free, it goes to the host that serves requests, and
        AWS checks the credential first."""
        headers: Headers = [(b"content-type", b"application/json")]
        return signed_request(account, credential, "POST", b"/model/relay-trio-check/invoke", headers, b"{}")

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        """An error about the model shows that the credential is good."""
        return ProbeAnswer.ACCEPTED if exception_of(head) in _ACCEPTED_PROBES else probe_answer(head.status)

    def request_id(self, head: ResponseHead) -> str:
        """``x-amzn-requestid``, a UUID."""
        return header_text(head.headers, b"x-amzn-requestid")


def exception_of(head: ResponseHead) -> str:
    """The exception's name, from ``x-amzn-errortype``, where a link may follow it; empty where there is none."""
    return header_text(head.headers, b"x-amzn-errortype").partition(":")[0].strip()


def _name_of(exception: str, body: bytes) -> str:
    """The name of an error in the table."""
    about = _ABOUT_A_MODEL.get(exception)
    if about is None:
        return exception
    try:
        document = json.loads(body)
        message = document.get("message", document.get("Message"))
    except (ValueError, AttributeError, RecursionError):
        return exception
    pattern, name = about
    return name if isinstance(message, str) and pattern.match(message) else exception


def signed_request(
    account: BedrockSettings,
    credential: Credential,
    method: str,
    target: bytes,
    headers: Headers,
    body: bytes,
    address: BaseAddress | None = None,
) -> UpstreamRequest:
    """One request for ``account``, with its signature or its API key. ``headers`` are all signed, so they hold only
    what passed an allow-list. ``address``: where the request goes; None: to the runtime."""
    address = address or account.address
    if isinstance(credential.value, AwsKeys):
        url = f"{address.scheme}://{address.authority}{(address.prefix + target).decode('ascii')}"
        headers = signed_headers(credential.value, account.region, method, url, headers, body)
    else:
        headers = [*headers, (b"authorization", b"Bearer " + str(credential.value).encode())]
    return address.request(method, target, [*headers, (b"accept-encoding", b"identity")], body)
