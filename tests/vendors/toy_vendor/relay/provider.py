"""The toy's API: requests out, answers metered, errors judged."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from relay_trio.vendors.toy.operations import SPEAK
from relay_trio.vendors.toy.settings import ToySettings

from relay_trio.api.answer_reader import Ending
from relay_trio.api.credential import Credential, masked
from relay_trio.api.metering import UsageFold
from relay_trio.api.pass_through import AllowList, PassThrough, accept_encoding, reader_for
from relay_trio.api.probe_answer import probe_answer
from relay_trio.api.verdict import VerdictTable
from relay_trio.api.whole_reader import WholeReader
from relay_trio.errors import UpstreamErrorEvent
from relay_trio.http import header_text
from relay_trio.usage import UsageSource
from relay_trio.wire.sse import parse_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay_trio.api.call import Call
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.probe_answer import ProbeAnswer
    from relay_trio.api.verdict import Verdict
    from relay_trio.errors import UpstreamError
    from relay_trio.http import Headers, ResponseHead, UpstreamRequest
    from relay_trio.usage import UsageStats

_REQUEST_HEADERS = AllowList(frozenset({b"content-type"}))
_RESPONSE_HEADERS = AllowList(frozenset({b"content-type", b"content-encoding", b"content-length"}))
_FIELDS = {"in": "input_tokens", "out": "output_tokens"}
_VERDICTS = VerdictTable(cooldowns={429: 5.0})


class _Fold:
    """What the events of one stream add up to: the last one has the usage."""

    def __init__(self) -> None:
        self.error: UpstreamError | None = None
        self._usage = UsageFold(_FIELDS)
        self.ending = Ending.OPEN

    def observe_block(self, block: bytes) -> None:
        if b'"usage"' in block or b'"error"' in block:
            event = parse_block(block)
            document = json.loads(event.data) if event is not None else {}
            self._usage.overwrite(document.get("usage"))
            if "usage" in document:
                self.ending = Ending.FINAL
            if "error" in document:
                self.error, self.ending = UpstreamErrorEvent("the toy broke"), Ending.DUE

    @staticmethod
    def is_needed(beginning: bytes) -> bool:
        return True

    def observe_tail(self, tail: bytes) -> None:
        pass

    def spoil(self) -> None:
        self._usage.spoil()

    def is_complete_with(self, tail: bytes) -> bool:
        return self.ending is not Ending.OPEN

    def stats(self) -> UsageStats:
        return self._usage.stats(UsageSource.EXACT)


def _request(account: ToySettings, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
    key = str(credential.value).encode()
    headers = [*_REQUEST_HEADERS.of(checked.headers), accept_encoding(checked), (b"x-toy-key", key)]
    headers.append((b"x-toy-volume", account.volume.encode()))
    return account.address.request("POST", checked.raw_path, headers, checked.body)


_new_whole_reader = partial(WholeReader, "usage", partial(UsageFold, _FIELDS), lambda document: None)
_answer = partial(reader_for, new_fold=_Fold, new_reader=_new_whole_reader)


class Toy:
    """The provider ``toy``."""

    name = "toy"
    settings_class = ToySettings
    calls: Mapping[str, Call[ToySettings]] = {SPEAK.name: PassThrough(_request, _answer, _RESPONSE_HEADERS)}

    def describe_credential(self, account: ToySettings) -> str:
        return f"key {masked(account.api_key.get_secret_value())}"

    def credential(self, account: ToySettings) -> Credential:
        return Credential(account.api_key.get_secret_value())

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        return _VERDICTS.judge(head.status)

    def request_id(self, head: ResponseHead) -> str:
        return header_text(head.headers, b"x-toy-id")

    def price_of(self, account: ToySettings, model: str) -> Sequence[tuple[str, str]]:
        """Somebody else's list, so that one model has a price and another has none."""
        return [("openai", model)]

    def probe_request(self, account: ToySettings, credential: Credential) -> UpstreamRequest:
        headers: Headers = [(b"x-toy-key", str(credential.value).encode())]
        return account.address.request("GET", b"/toy/voices", headers, b"")

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        return probe_answer(head.status)
