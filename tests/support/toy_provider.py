"""A provider of the tests' own, in the registry for the time of a test, as the line of its vendor would put it there.

pydantic evaluates the annotations, so they are not postponed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

from pydantic import Field

from relay_trio.config import Settings
from relay_trio.settings import AccountSettings
from relay_trio.settings.values import ApiKey, FilePath
from relay_trio.vendors.registry import PROVIDERS


class ToySettings(AccountSettings):
    """An account of a toy; repeat the table for each."""

    provider: Literal["toy"] = Field(description="a toy")
    colour: str = Field(description="of the toy", examples=["red"])
    winding_key: ApiKey = Field(examples=["env:TOY_KEY"])
    manual: FilePath | None = Field(default=None, description="how to wind it up", examples=["manual.txt"])

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.colour == self.name:
            yield "colour", "must not be the name"


class Toy:
    """As much of a provider as configuration needs."""

    name = "toy"
    settings_class = ToySettings

    def describe_credential(self, account: ToySettings) -> str:
        return f"a {account.colour} key"


@contextmanager
def registered_toy() -> Iterator[None]:
    """relay.toml takes accounts of the toy inside the block, and no longer after it."""
    PROVIDERS["toy"] = cast("Any", Toy())
    Settings.model_rebuild(force=True)
    try:
        yield
    finally:
        del PROVIDERS["toy"]
        Settings.model_rebuild(force=True)
