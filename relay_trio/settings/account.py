"""What every upstream account has, whoever its vendor is.

A vendor's own settings are a subclass in its folder (``vendors/<vendor>/settings.py``), with ``provider`` narrowed to
its name. relay.toml gives each account the class of its ``provider``, so a setting of another vendor is refused as a
typo is. pydantic evaluates the annotations, so they are not postponed.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from relay_trio.http import BaseAddress
from relay_trio.settings.sections import Section, TimeoutSettings
from relay_trio.settings.values import BaseUrl, Count, Name, Patterns, Seconds


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
    connect_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[5.0])
    first_byte_timeout_seconds: Seconds | None = Field(
        default=None, description="overrides [timeouts]", examples=[120.0]
    )
    idle_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[90.0])
    total_timeout_seconds: Seconds | None = Field(default=None, description="overrides [timeouts]", examples=[3600.0])

    @cached_property
    def address(self) -> BaseAddress:
        """Where the account's requests go."""
        return BaseAddress.parse(self.base_url) if self.base_url is not None else self.own_address()

    def own_address(self) -> BaseAddress:
        """Where the vendor serves this account, when no ``base_url`` is set. A vendor's settings override this."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for key, message in self.problems():
            raise PydanticCustomError("account", "{message}", {"key": key, "message": message})
        return self

    def problems(self) -> Iterator[tuple[str, str]]:
        """What no field can judge by itself, as (setting, message); the first one is reported. A vendor's settings
        override this."""
        yield from ()

    def timeouts_over(self, timeouts: TimeoutSettings) -> TimeoutSettings:
        """``timeouts`` with this account's own values in place of the four it may set."""
        own = {name: value for name in TimeoutSettings.model_fields if (value := getattr(self, name, None)) is not None}
        return timeouts.model_copy(update=own)
