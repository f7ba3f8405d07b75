"""``[[account]] provider = "gemini"``."""

from typing import Literal

from pydantic import Field

from relay_trio.http import BaseAddress
from relay_trio.settings.account import AccountSettings
from relay_trio.settings.values import ApiKey, Patterns

GOOGLE_MODELS = (
    "gemini-*", "gemma-*", "learnlm-*", "imagen-*", "imagetext*", "veo-*", "lyria-*", "text-embedding-*",
    "text-multilingual-embedding-*", "textembedding-*", "embedding-*", "multimodalembedding*", "aqa", "medlm-*",
    "deep-research-*", "computer-use-*", "nano-banana-*", "virtual-try-on-*", "tunedModels/*",
)  # fmt: skip
"""Google's own names, as its lists of models for the Gemini API and for Vertex AI had them in autumn 2026."""


class GeminiSettings(AccountSettings):
    """An account of the Gemini API; repeat the table for each."""

    provider: Literal["gemini"] = Field(description="Google's Gemini API")
    models: Patterns = Field(default=GOOGLE_MODELS, description="as glob patterns; default: Google's own names")
    api_key: ApiKey = Field(examples=["env:GEMINI_API_KEY"])

    def own_address(self) -> BaseAddress:
        return BaseAddress.of_host("generativelanguage.googleapis.com")
