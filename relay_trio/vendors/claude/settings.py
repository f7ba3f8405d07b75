"""``[[account]] provider = "anthropic"``."""

from typing import Literal

from pydantic import Field

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import ApiKey


class ClaudeSettings(AccountSettings):
    """An account of Anthropic's API; repeat the table for each."""

    provider: Literal["anthropic"] = Field(description="Anthropic's API")
    api_key: ApiKey = Field(examples=["env:ANTHROPIC_API_KEY"])

    def own_address(self) -> BaseAddress:
        return BaseAddress.of_host("api.anthropic.com")
