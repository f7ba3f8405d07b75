"""``[[account]] provider = "gemini"``."""

from typing import Literal

from pydantic import Field

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import ApiKey


class GeminiSettings(AccountSettings):
    """An account of the Gemini API; repeat the table for each."""

    provider: Literal["gemini"] = Field(description="Google's Gemini API")
    api_key: ApiKey = Field(examples=["env:GEMINI_API_KEY"])

    def own_address(self) -> BaseAddress:
        return BaseAddress.of_host("generativelanguage.googleapis.com")
