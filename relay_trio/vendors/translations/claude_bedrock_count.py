"""Claude's clients that count tokens, at Bedrock accounts: ``/v1/messages/count_tokens`` to and from
``/model/{id}/count-tokens``.

The message that is counted goes as an invocation, inside of the request. Bedrock counts by a model's own id: it refuses
that of a profile, which is how most models are invoked ("The provided model doesn't support counting tokens",
pydantic-ai#3367), so what a profile's id says of its model is what goes out.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from relay_trio.api.answer_reader import Ending
from relay_trio.api.metering import count_of
from relay_trio.api.position import WHOLE
from relay_trio.errors import UpstreamError, UpstreamProtocolError
from relay_trio.usage import NO_USAGE
from relay_trio.vendors.bedrock.provider import check_form, exception_of, signed_request
from relay_trio.vendors.bedrock.stream import parsed_object
from relay_trio.vendors.translations.claude_bedrock import CLAUDE_IDS, JSON, invoke_body, model_id_of, translated_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.http import Headers, ResponseHead, UpstreamRequest
    from relay_trio.usage import UsageStats
    from relay_trio.vendors.bedrock.settings import BedrockSettings

_OF_PROFILE = re.compile(r"(?:arn:.*:inference-profile/)?[a-z-]{2,8}\.(anthropic\..+)|arn:.*:foundation-model/(.+)")
_LARGEST_BYTES = 64 * 1024
"""The longest answer that is read: it is one number."""


class ClaudeCountOnBedrock:
    """``claude.count_tokens`` at a Bedrock account."""

    hashes_body = True
    ping = b""

    def request(self, account: BedrockSettings, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
        """
        Raises:
            BadRequest: the message cannot be made one for Bedrock.
        """
        invocation, dropped = invoke_body(account, checked, max_tokens=1)
        body = json.dumps({"input": {"invokeModel": {"body": b64encode(invocation).decode()}}}).encode()
        target = f"/model/{quote(_countable(model_id_of(account, checked)), safe='')}/count-tokens".encode()
        return replace(signed_request(account, credential, "POST", target, list(JSON), body), dropped=dropped)

    def models(self, account: BedrockSettings) -> Sequence[str]:
        """Those that Claude's clients can send messages to."""
        return (*account.model_ids, *CLAUDE_IDS)

    def client_headers(self, head: ResponseHead, checked: CheckedRequest) -> Headers:
        """Only what is true of the translated answer."""
        return [(b"content-type", b"application/json")]

    def answer(self, head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
        check_form(head, is_stream=False)
        return CountReader()

    def error(self, head: ResponseHead, body: bytes) -> tuple[int, bytes] | None:
        return translated_error(exception_of(head), head.status, body)


def _countable(model_id: str) -> str:
    """The id of the model behind ``model_id``, as far as that says it: an application's profile does not."""
    match = _OF_PROFILE.fullmatch(model_id)
    return model_id if match is None else match[1] or match[2]


class CountReader:
    """Holds the answer until it is whole, and makes Anthropic's of it."""

    is_error_forwarded = False
    position = WHOLE

    def __init__(self) -> None:
        self.error: UpstreamError | None = None
        self.has_substance = self.is_complete = False
        self.ending = Ending.OPEN
        self._held = bytearray()

    @property
    def has_begun(self) -> bool:
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """Nothing until the document is whole; then the count."""
        if self.is_complete or self.error is not None:
            return b""
        self._held += data
        document = parsed_object(bytes(self._held)) if self._held.rstrip().endswith(b"}") else None
        count = None if document is None else count_of(document.get("inputTokens"))
        if count is not None:
            self.has_substance = self.is_complete = True
            self.ending = Ending.DUE
            return json.dumps({"input_tokens": count}, separators=(",", ":")).encode()
        if document is not None or len(self._held) > _LARGEST_BYTES:
            self.error = UpstreamProtocolError("the upstream's answer holds no count of tokens")
        return b""

    def finish(self) -> UsageStats:
        """No usage: counting is free."""
        return NO_USAGE
