"""Calls whose upstream speaks the client's dialect: requests and answers pass by allow-list, and are only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from relay_trio.api.answer_reader import NullReader
from relay_trio.api.inflater import InflatedReader, inflater_for
from relay_trio.api.sse_reader import SseReader
from relay_trio.http import header, is_event_stream
from relay_trio.settings.account import AccountSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.api.sse_reader import SseFold
    from relay_trio.http import Headers, ResponseHead, UpstreamRequest

_Settings = TypeVar("_Settings", bound=AccountSettings)


@dataclass(frozen=True, slots=True)
class AllowList:
    """The header fields that pass; all others stay behind. Names and ``prefixes`` are in lower case."""

    names: frozenset[bytes]
    prefixes: tuple[bytes, ...] = ()

    def of(self, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
        """Those of ``headers`` that pass, as they came and in their order."""
        names, prefixes = self.names, self.prefixes
        if not prefixes:
            return [field for field in headers if field[0] in names]
        return [field for field in headers if field[0] in names or field[0].startswith(prefixes)]


@dataclass(frozen=True, slots=True)
class PassThrough(Generic[_Settings]):
    """An ``api.call.Call`` made of what differs among vendors. ``allowed`` are the response headers that a client may
    see: ids, cookies and hop-by-hop fields of the upstream are not among them."""

    request: Callable[[_Settings, CheckedRequest, Credential], UpstreamRequest]
    answer: Callable[[ResponseHead, CheckedRequest], AnswerReader]
    allowed: AllowList
    hashes_body: bool = False

    @property
    def ping(self) -> bytes:
        """None: nothing is added to what passes."""
        return b""

    def models(self, account: _Settings) -> Sequence[str]:
        """Any: the upstream reads the name itself."""
        return ("*",)

    def client_headers(self, head: ResponseHead, checked: CheckedRequest) -> Headers:
        """By allow-list; without the length of a stream, which is complete with its last event."""
        headers = self.allowed.of(head.headers)
        if checked.is_stream:
            return [field for field in headers if field[0] != b"content-length"]
        return headers

    def error(self, head: ResponseHead, body: bytes) -> tuple[int, bytes] | None:
        """None: the client knows the upstream's errors."""
        return None


def accept_encoding(checked: CheckedRequest) -> tuple[bytes, bytes]:
    """The header field for a request whose answer passes: gzip where the client takes it, and nobody alters it."""
    accepted = header(checked.headers, b"accept-encoding") or b""
    return b"accept-encoding", b"gzip" if b"gzip" in accepted.lower() else b"identity"


def reader_for(
    head: ResponseHead,
    checked: CheckedRequest,
    *,
    new_fold: Callable[[], SseFold],
    new_reader: Callable[[], AnswerReader] | None,
) -> AnswerReader:
    """The reader of an answer that passes: of server-sent events, which ``new_fold`` adds up; or of anything else,
    which ``new_reader`` makes. None: such an answer has no tokens, and need not be one document.

    Raises:
        UpstreamProtocolError: the answer has an encoding that the request did not accept.
    """
    if checked.method == "HEAD" or head.status == 204:
        return NullReader(may_be_empty=True)
    inflater = inflater_for(head, checked)
    if is_event_stream(head):
        reader: AnswerReader = SseReader(new_fold())
    else:
        reader = NullReader() if new_reader is None else new_reader()
    return reader if inflater is None else InflatedReader(reader, inflater)
