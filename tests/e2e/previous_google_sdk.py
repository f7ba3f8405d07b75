"""The previous generation of google-genai, run against a base URL: prints as JSON what its user would see.

``python previous_google_sdk.py BASE_URL KEY``. It runs in an environment of its own (google-genai 1.75), so it imports
nothing of this project, and no pytest.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from google import genai
from google.genai import errors, types

PROMPT = "canaryprompttext"
MODEL = "gemini-sim:input=31,cache_read=5,chunks=6"
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", description="tells it")])
ANY = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))


def seen(client: genai.Client) -> dict[str, Any]:
    """Each call and what came of it."""
    models = client.models
    found: dict[str, Any] = {"generate": shown(models.generate_content(model=MODEL, contents=PROMPT))}
    found["stream"] = [shown(chunk) for chunk in models.generate_content_stream(model=MODEL, contents=PROMPT)]
    tools: Any = {"tools": [TOOL], "tool_config": ANY}
    found["tool"] = [shown(c) for c in models.generate_content_stream(model=MODEL, contents=PROMPT, config=tools)]
    thinking: Any = {"thinking_config": {"include_thoughts": True}}
    found["thinking"] = shown(models.generate_content(model=MODEL, contents=PROMPT, config=thinking))
    found["count"] = models.count_tokens(model="gemini-sim", contents=PROMPT).total_tokens
    embeddings = models.embed_content(model="gemini-embedding-sim", contents=["a b", "c"]).embeddings or []
    found["embeddings"] = [embedding.values for embedding in embeddings]
    found["models"] = [model.name for model in models.list()]
    found["model"] = models.get(model="gemini-sim").name
    for status in (400, 404, 413, 429, 500, 503):
        found[f"error {status}"] = failure(client, f"gemini-sim:fault={status}")
    found["error event"] = failure(client, "gemini-sim:fault=error_event:3")
    found["cut"] = failure(client, "gemini-sim:fault=close_after_events:3")["raised"]
    for at in range(0, 700, 23):
        found[f"cut after {at} bytes"] = failure(client, f"gemini-sim:chunks=4,fault=close_after:{at}")["raised"]
    return found


def shown(answer: Any) -> dict[str, Any]:
    """What is the same each time about an answer."""
    fields: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True, warnings=False)
    for name in ("sdk_http_response", "response_id", "create_time"):
        fields.pop(name, None)
    return fields


def failure(client: genai.Client, model: str) -> dict[str, Any]:
    """The exception of a failing call. Its class for a cut is httpx's or the SDK's, by where it was cut."""
    try:
        list(client.models.generate_content_stream(model=model, contents=PROMPT))
    except errors.APIError as error:
        return {"raised": True, "class": type(error).__name__, "status": error.code, "error": error.message}
    except Exception as error:
        return {"raised": True, "class": type(error).__name__}
    return {"raised": False}


def main() -> None:
    base_url, key = sys.argv[1:]
    client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base_url))
    json.dump({"version": genai.__version__, **seen(client)}, sys.stdout)


if __name__ == "__main__":
    main()
