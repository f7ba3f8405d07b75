"""A provider: the API of one vendor, as an account of it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from relay_trio.settings.account import AccountSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay_trio.api.call import Call
    from relay_trio.api.credential import Credential, ResolveCredential
    from relay_trio.api.probe_answer import ProbeAnswer
    from relay_trio.api.verdict import Verdict
    from relay_trio.http import ResponseHead, UpstreamRequest

_Settings = TypeVar("_Settings", bound=AccountSettings)


class Provider(Protocol[_Settings]):
    """One vendor's API. ``_Settings`` is what its accounts have in relay.toml."""

    name: str

    settings_class: type[_Settings]
    """The settings of its accounts: each with its check, unit and description."""

    calls: Mapping[str, Call[_Settings]]
    """How its accounts serve each operation, by the operation's name: the provider's support matrix."""

    def describe_credential(self, account: _Settings) -> str:
        """What the account authenticates with, for an operator to read: ``key sk-ant-…9f2``. It holds no secret."""

    def credential(self, account: _Settings) -> Credential | ResolveCredential:
        """The account's credential where its settings hold it, and it never changes; else what resolves it."""

    def judge(self, head: ResponseHead, body: bytes, now: float) -> Verdict:
        """The verdict on an answer with a status of 300 or more. ``body`` may be cut; ``now`` is epoch seconds."""

    def request_id(self, head: ResponseHead) -> str:
        """The id by which the upstream's operator finds the call again; empty where its answers have none."""

    def price_of(self, account: _Settings, model: str) -> Sequence[tuple[str, str]]:
        """The places of a price for ``model``, as a client names it to ``account``: pairs of a price list's name and
        the model's name in that list. The first pair that the lists have is used. Empty: the model has no price."""

    def probe_request(self, account: _Settings, credential: Credential) -> UpstreamRequest:
        """A request that costs no tokens and shows whether the credential is accepted."""

    def judge_probe(self, head: ResponseHead) -> ProbeAnswer:
        """What an answer to that request shows."""
