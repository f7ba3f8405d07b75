"""Who serves: one kind of upstream account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from relay_trio.api.answer_reader import AnswerReader
    from relay_trio.api.checked_request import CheckedRequest
    from relay_trio.api.credential import Credential
    from relay_trio.api.verdict import Verdict
    from relay_trio.http import Headers, ResponseHead, UpstreamRequest
    from relay_trio.settings import AccountSettings


class Provider(Protocol):
    """One upstream API."""

    name: str
    default_base_url: str

    operations: frozenset[str]
    """What its accounts can be asked for: names of routes, of its own dialect and of those that it translates."""

    hashes_bodies: bool
    """``build_request`` goes through the whole body, so a large one is built in a thread."""

    key_refusals: frozenset[int]
    """Statuses by which the probe is told that the credential is not accepted."""

    def static_credential(self, account: AccountSettings) -> Credential | None:
        """The account's credential when it stands in the configuration, which never changes; None: ``resolve``."""

    def resolve_credential(self, account: AccountSettings) -> Credential:
        """The account's credential of now. It may read files, run a program or ask a service: called in a thread.

        Raises:
            UpstreamRefused: it cannot be had, without a word of what it is.
        """

    def build_request(
        self, account: AccountSettings, incoming: CheckedRequest, credential: Credential
    ) -> UpstreamRequest:
        """The request for ``account``: its credential in, the client's out, everything else by allow-list."""

    def client_headers(self, head: ResponseHead, incoming: CheckedRequest) -> Headers:
        """The response headers a client may see."""

    def new_meter(self, head: ResponseHead, incoming: CheckedRequest) -> AnswerReader:
        """A meter for one answer."""

    def classify_error(self, head: ResponseHead, body: bytes, incoming: CheckedRequest, now: float) -> Verdict:
        """Judge an answer with a status of 300 or more. ``body`` may be cut; ``now`` is epoch seconds."""

    def probe_request(self, account: AccountSettings, credential: Credential) -> UpstreamRequest:
        """A request that costs no tokens and shows whether the credential is accepted."""

    def accepts_probe(self, head: ResponseHead) -> bool:
        """Whether this answer to the probe shows that it is."""
