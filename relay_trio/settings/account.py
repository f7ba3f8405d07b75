"""What every upstream account has, whoever its vendor is.

A vendor's own settings are a subclass in its folder (``vendors/<vendor>/settings.py``), with ``provider`` narrowed to
its name. relay.toml gives each account the class of its ``provider``, so a setting of another vendor is refused as a
typo is. pydantic evaluates the annotations, so they are not postponed.
"""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from relay_trio.http import BaseAddress, Headers, UpstreamRequest
from relay_trio.settings.header_names import is_reserved
from relay_trio.settings.sections import Section, TimeoutSettings
from relay_trio.settings.values import AddedHeaders, BaseUrl, Count, HeaderPatterns, Name, Patterns, Seconds


class AccountSettings(Section):
    """One upstream account; repeat the table for each."""

    name: Name = Field(description="also the metric label")
    provider: str = Field(description="whose API the account is for")
    max_concurrency: Count = Field(
        ge=1, le=100_000, description="slots: live requests to this account at one time", examples=[16]
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="default: the provider's own; http:// for loopback only, or with allow_insecure",
        examples=["https://upstream.example"],
    )
    models: Patterns = Field(default=("*",), description="models this account serves, as glob patterns")
    priority: Count = Field(default=0, ge=0, le=1000, description="lower first")
    weight: Count = Field(default=1, ge=1, le=1000, description="share among accounts of equal priority")
    headers: AddedHeaders = Field(
        default_factory=dict,
        description="added to each request to the upstream",
        examples=[{"x-goog-user-project": "my-billing"}],
    )
    forward_headers: HeaderPatterns = Field(
        default=(),
        description="header fields of clients to let through, as glob patterns; never credentials",
        examples=[["x-app", "x-team-*"]],
    )
    connect_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[5.0])
    first_byte_timeout_seconds: Seconds | None = Field(
        default=None, description="overrides [timeouts]", examples=[120.0]
    )
    whole_answer_timeout_seconds: Seconds | None = Field(
        default=None, description="overrides [timeouts]", examples=[600.0]
    )
    idle_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[300.0])
    total_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[3600.0])

    @cached_property
    def address(self) -> BaseAddress:
        """Where the account's requests go."""
        return BaseAddress.parse(self.base_url) if self.base_url is not None else self.own_address()

    def own_address(self) -> BaseAddress:
        """Where the vendor serves this account, when no ``base_url`` is set. A vendor's settings override this."""
        raise NotImplementedError

    def with_headers(self, theirs: Headers, request: UpstreamRequest) -> UpstreamRequest:
        """``request`` with the fields of the account, and those of the client's fields, ``theirs``, that it lets
        through. What ``request`` has by the name of an added field, the added one replaces."""
        if not self.headers and not self.forward_headers:
            return request
        added = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        names = {name for name, _ in added}
        kept = [field for field in request.headers if field[0] not in names]
        names |= {name for name, _ in kept}
        forwarded = [field for field in theirs if field[0] not in names and self._is_forwarded(field[0].decode())]
        return replace(request, headers=[*kept, *forwarded, *added])

    def _is_forwarded(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.forward_headers) and not is_reserved(name)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for key, message in self.problems():
            raise PydanticCustomError("account", "{message}", {"key": key, "message": message})
        return self

    def problems(self) -> Iterator[tuple[str, str]]:
        """What no field can judge by itself, as (setting, message); the first one is reported. A vendor's settings
        override this."""
        yield from ()

    @classmethod
    def default_models(cls) -> tuple[str, ...]:
        """The patterns of ``models`` where nobody set them."""
        default: tuple[str, ...] = cls.model_fields["models"].default
        return default

    def timeouts_over(self, timeouts: TimeoutSettings) -> TimeoutSettings:
        """``timeouts`` with this account's own values in place of those it may set."""
        own = {name: value for name in TimeoutSettings.model_fields if (value := getattr(self, name, None)) is not None}
        return timeouts.model_copy(update=own)
