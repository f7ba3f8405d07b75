"""One operation at one provider: passed through, or translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from relay_trio.settings.account import AccountSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.http import Headers, ResponseHead, UpstreamRequest

_Settings = TypeVar("_Settings", bound=AccountSettings, contravariant=True)


class Call(Protocol[_Settings]):
    """How one operation is served by accounts of one provider, which have ``_Settings``. Plain functions over bytes,
    without I/O."""

    @property
    def hashes_body(self) -> bool:
        """Whether ``request`` goes through the whole body, so that the request for a large one is built in a thread."""

    @property
    def ping(self) -> bytes:
        """An event without a meaning, for the client of a stream whose upstream is silent and has no such event. Empty:
        its streams pass as they come. It may stand wherever the answer's reader has come to."""

    def request(self, account: _Settings, checked: CheckedRequest, credential: Credential) -> UpstreamRequest:
        """The request for ``account``. It has the account's credential in place of the client's; everything else
        passes by allow-list.

        Raises:
            BadRequest: the client's request cannot be made one for this upstream.
        """

    def models(self, account: _Settings) -> Sequence[str]:
        """The patterns of the names by which this call can reach a model at ``account``; of these, the account serves
        those that its own ``models`` match. ``("*",)``: any."""

    def client_headers(self, head: ResponseHead, checked: CheckedRequest) -> Headers:
        """The response headers that a client may see."""

    def answer(self, head: ResponseHead, checked: CheckedRequest) -> AnswerReader:
        """A new reader for one answer.

        Raises:
            UpstreamProtocolError: the answer is in no form that the request accepted.
        """

    def error(self, head: ResponseHead, body: bytes) -> tuple[int, bytes] | None:
        """An upstream's error in the client's dialect, as status and body; None where the error passes as it came."""
