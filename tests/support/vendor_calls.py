"""One operation at one provider, as the pool and the pump use it: for tests that look at the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.api.provider import Provider
    from relay_trio.http import Headers, ResponseHead, UpstreamRequest


def build_request(
    provider: Provider[Any], account: Any, checked: CheckedRequest, credential: Credential
) -> UpstreamRequest:
    return provider.calls[checked.operation].request(account, checked, credential)


def client_headers(provider: Provider[Any], head: ResponseHead, checked: CheckedRequest) -> Headers:
    return provider.calls[checked.operation].client_headers(head, checked)


def new_reader(provider: Provider[Any], head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
    return provider.calls[checked.operation].answer(head, checked)
