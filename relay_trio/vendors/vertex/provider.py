"""The provider of Gemini on Vertex AI: the Gemini API's requests and answers, at other paths, with other credentials.

Host and path are made of the account's location and project. An account with an API key is in express mode, which has
neither. Project and location in a client's path are ignored.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relay_trio.api.credential import Credential, masked
from relay_trio.api.probe_answer import ProbeAnswer, probe_answer
from relay_trio.http import UpstreamRequest, header_text
from relay_trio.vendors.gemini import provider as gemini
from relay_trio.vendors.gemini.operations import COUNT_TOKENS, EMBED, GENERATE, PUBLISHER_MODELS, STREAM
from relay_trio.vendors.gemini.paths import parse_path
from relay_trio.vendors.vertex.credentials import access_token, token_source
from relay_trio.vendors.vertex.settings import VertexSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import ResolveCredential
    from relay_trio.api.verdict import Verdict
    from relay_trio.http import Headers, ResponseHead

_PROBE_BODY = b'{"contents": [{"role": "user", "parts": [{"text": "a"}]}]}'


def authorization(account: VertexSettings, credential: Credential) -> tuple[bytes, bytes]:
    """The header field that ``account`` authenticates with."""
    if account.api_key is not None:
        return gemini.key_field(credential)
    return b"authorization", b"Bearer " + str(credential.value).encode()


def _path_and_field(
    account: VertexSettings, checked: CheckedRequest, credential: Credential
) -> tuple[bytes, tuple[bytes, bytes]]:
    path = parse_path(checked.raw_path)
    assert path is not None  # the route has checked it
    has_project = checked.operation != PUBLISHER_MODELS.name
    target = path.for_vertex(account.project if has_project else None, account.location)
    return target, authorization(account, credential)


class Vertex:
    """The provider ``vertex``."""

    name = "vertex"
    settings_class = VertexSettings

    def __init__(self, translations: Mapping[str, Call[VertexSettings]] | None = None) -> None:
        """``translations``: operations of other dialects that its accounts serve too."""
        native = gemini.calls_by(_path_and_field, (GENERATE, STREAM, COUNT_TOKENS, EMBED, PUBLISHER_MODELS))
        self.calls: Mapping[str, Call[VertexSettings]] = {**native, **(translations or {})}

    def describe_credential(self, account: VertexSettings) -> str:
        """The masked key, or where the token comes from and the project that it is for."""
        if account.api_key is not None:
            return f"key {masked(account.api_key.get_secret_value())}"
        return f"{token_source(account)}, project {account.project} in {account.location}"

    def credential(self, account: VertexSettings) -> Credential | ResolveCredential:
        """The API key of express mode, or an access token."""
        if account.api_key is not None:
            return Credential(account.api_key.get_secret_value())
        return partial(access_token, account)

    def probe_request(self, account: VertexSettings, credential: Credential) -> UpstreamRequest:
        """A count of tokens with a model that does not exist: it is free, and Google checks the credential first."""
        path = parse_path(b"/v1/publishers/google/models/relay-trio-check:countTokens")
        assert path is not None
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),
            authorization(account, credential),
        ]
        target = path.for_vertex(account.project, account.location)
        return account.address.request("POST", target, headers, _PROBE_BODY)

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        """An answer in Google's format that there is no such model shows that the credential is good."""
        if head.status == 404 and header_text(head.headers, b"content-type").startswith("application/json"):
            return ProbeAnswer.ACCEPTED
        return probe_answer(head.status, gemini.PROBE_REFUSALS)

    def request_id(self, head: ResponseHead) -> str:
        """``request-id``, of a gateway in front of Google: Google's own answers have none."""
        return header_text(head.headers, b"request-id")

    def price_of(self, account: VertexSettings, model: str) -> Sequence[tuple[str, str]]:
        return [("google", model)]

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        """The verdict is the Gemini API's. A refused token is resolved again."""
        return gemini.judge(head, body)
