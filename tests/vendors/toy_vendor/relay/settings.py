"""``[[account]] provider = "toy"``."""

from typing import Literal

from pydantic import Field

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import ApiKey


class ToySettings(AccountSettings):
    """An account of the toy's API; repeat the table for each."""

    provider: Literal["toy"] = Field(description="the toy's API")
    api_key: ApiKey = Field(examples=["env:TOY_API_KEY"])
    volume: Literal["low", "high"] = Field(default="low", description="how loud it speaks")

    def own_address(self) -> BaseAddress:
        return BaseAddress.of_host("api.toy.example")
