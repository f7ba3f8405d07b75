"""What a vendor brings to be one: accounts, and a request for each operation with what its upstream does to it.

A vendor writes ``tests/vendors/<vendor>/samples.py`` with one ``SAMPLES``. ``tests/recordings/record.py`` makes the
recordings from it, and ``tests/vendors/test_conformance.py`` goes through both: a provider without samples of each of
its operations fails there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from relay_trio.api.checked_request import CheckedRequest
from relay_trio.api.credential import Credential
from relay_trio.vendors.registry import DIALECTS, PROVIDERS
from relay_trio.web.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.api.dialect import Dialect
    from relay_trio.api.provider import Provider
    from relay_trio.http import Headers
    from relay_trio.settings import AccountSettings
    from relay_trio.web.router import Match

ROUTER = Router(DIALECTS)


@dataclass(frozen=True, slots=True)
class SampleAccount:
    """One way to have an account: ``settings`` beside those that every account has, and the ``secrets`` in them.

    ``token``: the credential, where the settings do not hold it.
    """

    settings: Mapping[str, object]
    secrets: tuple[str, ...]
    token: str | None = None

    def open(self, provider: Provider[Any], **changes: object) -> tuple[AccountSettings, Credential]:
        common = {"name": "a", "provider": provider.name, "max_concurrency": 1}
        settings = provider.settings_class.model_validate({**common, **self.settings, **changes})
        if self.token is not None:
            return settings, Credential(self.token)
        credential = provider.credential(settings)
        assert isinstance(credential, Credential)
        return settings, credential


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a client, and what the upstream is to do with it.

    ``document`` is the body. ``spec`` is the simulator's (``simulator/plan.py``). ``is_refused``: the account's
    credential is not accepted.
    """

    name: str
    operation: str
    target: str
    document: object = None
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    spec: str = ""
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class VendorSamples:
    """What one provider brings. The first of ``accounts`` is used for recordings. ``wrong``: the same settings with a
    credential that is not accepted. ``translated``: the operations whose answers do not pass byte for byte."""

    accounts: tuple[SampleAccount, ...]
    wrong: SampleAccount
    samples: tuple[Sample, ...]
    translated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a client's request."""

    method: str
    raw_path: bytes
    query: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class ClientCall:
    """A client's request as bytes, and what the relay reads out of it."""

    method: str
    target: str
    headers: Headers
    body: bytes = field(repr=False)

    @property
    def match(self) -> Match:
        """The route that it takes."""
        return ROUTER.match(self._head)

    @property
    def dialect(self) -> Dialect:
        return self.match.dialect

    def checked(self, *more: tuple[bytes, bytes]) -> CheckedRequest:
        """As the relay hands it to a provider, with ``more`` headers."""
        match = self.match
        reading = match.operation.read(self._head, match.parameters, json.loads(self.body) if self.body else {})
        head = self._head
        headers = [*head.headers, *more]
        return CheckedRequest(
            match.operation.name, head.method, head.raw_path, head.query, headers, self.body,
            reading.model, reading.is_stream,
        )  # fmt: skip

    @property
    def _head(self) -> Head:
        path, _, query = self.target.partition("?")
        return Head(self.method, path.encode(), query.encode(), self.headers)


def call_of(sample: Sample) -> ClientCall:
    """The request of a sample as its client sends it."""
    body = b"" if sample.document is None else json.dumps(sample.document).encode()
    headers = [(name.encode(), value.encode()) for name, value in sample.headers]
    if body:
        headers.insert(0, (b"content-type", b"application/json"))
    return ClientCall(sample.method, sample.target, headers, body)


def samples_of(provider: str) -> VendorSamples:
    """The samples of one provider of the registry, by the folder that it lives in.

    Raises:
        ModuleNotFoundError: it has none.
    """
    folder = PROVIDERS[provider].settings_class.__module__.split(".")[-2]
    found: VendorSamples = import_module(f"tests.vendors.{folder}.samples").SAMPLES
    return found
