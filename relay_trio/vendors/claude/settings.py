"""``[[account]] provider = "anthropic"``."""

from typing import Literal

from pydantic import Field

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import ApiKey, Patterns


class ClaudeSettings(AccountSettings):
    """An account of Anthropic's API; repeat the table for each."""

    provider: Literal["anthropic"] = Field(description="Anthropic's API")
    models: Patterns = Field(
        default=("claude-*",), description="as glob patterns; default: Anthropic's own names", examples=[["*"]]
    )
    api_key: ApiKey = Field(examples=["env:ANTHROPIC_API_KEY"])

    def own_address(self) -> BaseAddress:
        return BaseAddress.of_host("api.anthropic.com")
