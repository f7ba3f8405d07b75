"""Accounts at Google's services, and Google's own client configured for a relay or for the simulator itself."""

from __future__ import annotations

import google.oauth2.credentials
from google import genai
from google.genai import types

from tests.support.socket_harness import ACCOUNT_KEYS, KEY

CONTENTS = [{"role": "user", "parts": [{"text": "canaryprompttext"}]}]
"""``harness.PROMPT``, in Gemini's form."""


def gemini_account(name: str, base_url: str, *, number: int = 0, **changes: object) -> dict[str, object]:
    """One account as relay.toml would have it."""
    secret = ACCOUNT_KEYS[number]
    plain = {"name": name, "provider": "gemini", "api_key": secret, "base_url": base_url, "max_concurrency": 4}
    return plain | changes


def vertex_account(name: str, base_url: str, **changes: object) -> dict[str, object]:
    """One account whose token a command prints."""
    plain = {"name": name, "provider": "vertex", "base_url": base_url, "max_concurrency": 4}
    where = {"project": "mine", "location": "europe-west4", "token_command": ["printf", ACCOUNT_KEYS[0]]}
    return plain | where | changes


def google_client(url: str, *, key: str = KEY, version: str | None = None) -> genai.Client:
    """The client of the Gemini API, as its users make it."""
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, api_version=version, timeout=20_000))


def vertex_client(url: str, *, is_express: bool = False) -> genai.Client:
    """The client of Vertex AI, by key or with a project of its own."""
    options = types.HttpOptions(base_url=url, timeout=20_000)
    if is_express:
        return genai.Client(vertexai=True, api_key=KEY, http_options=options)
    token = google.oauth2.credentials.Credentials(token=KEY)
    return genai.Client(vertexai=True, project="theirs", location="us-east1", credentials=token, http_options=options)
