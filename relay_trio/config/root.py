"""Everything in relay.toml: the sections, the accounts with a class for each provider, and the keys.

pydantic evaluates the annotations, so they are not postponed.
"""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema

from relay_trio.settings.account import AccountSettings
from relay_trio.settings.sections import (
    AdminSettings,
    BreakerSettings,
    KeySettings,
    LoggingSettings,
    QueueSettings,
    RetrySettings,
    Section,
    ServerSettings,
    TimeoutSettings,
    UpstreamSettings,
)
from relay_trio.vendors.registry import PROVIDERS


class _OfItsProvider:
    """Marks an account: ``provider`` decides which of the registry's settings classes it has."""

    def __get_pydantic_core_schema__(self, source: type[AccountSettings], handler: GetCoreSchemaHandler) -> CoreSchema:
        classes: Any = reduce(or_, (provider.settings_class for provider in PROVIDERS.values()))
        return handler.generate_schema(Annotated[classes, Field(discriminator="provider")])


class Settings(Section):
    """Everything in relay.toml."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    queue: QueueSettings = QueueSettings()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    logging: LoggingSettings = LoggingSettings()
    account: tuple[Annotated[AccountSettings, _OfItsProvider()], ...] = ()
    key: tuple[KeySettings, ...] = ()


def secret_keys() -> frozenset[str]:
    """Names of the settings whose value is a secret, in whichever table they stand."""
    return frozenset(
        name for table in tables() for name, field in table.model_fields.items() if _may_be(field.annotation, SecretStr)
    )


def tables() -> Iterator[type[BaseModel]]:
    """Every class that a table of relay.toml can have."""
    for field in Settings.model_fields.values():
        if isinstance(field.default, BaseModel):
            yield type(field.default)
    yield from (provider.settings_class for provider in PROVIDERS.values())
    yield KeySettings


def _may_be(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_may_be(part, kind) for part in get_args(annotation))
