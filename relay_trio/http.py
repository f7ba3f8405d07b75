"""HTTP values that every floor speaks: header lists, addresses, a client's head, an upstream's request. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence


Headers = list[tuple[bytes, bytes]]
"""Header fields in wire order; names in lower case."""


def header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of ``name`` (lower case), or None."""
    return next((value for key, value in headers if key == name), None)


class ClientHead(Protocol):
    """The head of a client's request, for those who only read it. ``raw_path`` and ``query`` are the bytes of the
    request line, escapes untouched."""

    @property
    def method(self) -> str: ...
    @property
    def raw_path(self) -> bytes: ...
    @property
    def query(self) -> bytes: ...
    @property
    def headers(self) -> Headers: ...


def target_of(path: bytes, query: bytes) -> bytes:
    """Path and query as a request line has them."""
    return path + b"?" + query if query else path


def header_text(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """The first value of ``name`` (lower case) as text; empty where there is none."""
    return (header(headers, name) or b"").decode("latin-1")


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request as it goes on the wire.

    ``scheme`` is ``http`` or ``https``; ``target`` is path and query exactly as sent; ``headers`` lack ``host`` and
    ``content-length``, which the transport adds. ``dropped`` names what the client's request has and this one lacks,
    because the upstream does not know it.
    """

    method: str
    scheme: str
    host: str
    port: int
    target: bytes
    headers: Headers
    body: bytes
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseAddress:
    """What all requests to one upstream account have in common.

    ``host`` has no brackets. ``prefix`` is the path in front of every other, such as ``b"/anthropic"``.
    """

    scheme: str
    host: str
    port: int
    prefix: bytes = b""

    @classmethod
    def parse(cls, url: str) -> Self:
        """The address of ``http://host:port/prefix`` or ``https://…``, which configuration has checked."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/").encode())

    @classmethod
    def of_host(cls, host: str) -> Self:
        """The address of ``https://host``. Credentials are sent there, and ``host`` is made of settings.

        Raises:
            ValueError: ``host`` is more, or less, than the name of a host.
        """
        address = cls.parse(f"https://{host}")
        if address != cls("https", host, 443):
            raise ValueError("the account's settings make no host name")
        return address

    @property
    def authority(self) -> str:
        """Host and port as a URL has them: brackets around an IPv6 address, no port that is the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.scheme == "https" else 80) else f"{name}:{self.port}"

    def request(self, method: str, target: bytes, headers: Headers, body: bytes) -> UpstreamRequest:
        """A request to this address; ``target`` is what comes after the prefix, path and query."""
        return UpstreamRequest(method, self.scheme, self.host, self.port, self.prefix + target, headers, body)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers of an upstream's answer."""

    status: int
    headers: Headers


def is_event_stream(head: ResponseHead) -> bool:
    """Whether the body is server-sent events."""
    return (header(head.headers, b"content-type") or b"").lower().startswith(b"text/event-stream")
