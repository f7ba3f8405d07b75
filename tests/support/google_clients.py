"""Google's own client, configured for a relay or for the simulator itself."""

from __future__ import annotations

import google.oauth2.credentials
from google import genai
from google.genai import types

from tests.support.socket_harness import KEY, PROMPT

CONTENTS = [{"role": "user", "parts": [{"text": PROMPT}]}]


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
