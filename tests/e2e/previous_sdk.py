"""The previous generation of the anthropic SDK, run against a base URL: prints as JSON what its user would see.

``python previous_sdk.py BASE_URL KEY``. It runs in an environment of its own (anthropic 0.125), so it imports
nothing of this project, and no pytest.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic

PROMPT = "canaryprompttext"
MODEL = "claude-sim:input=31,cache_creation=7,cache_read=5,chunks=6"
TOOL = {"name": "weather", "description": "tells the weather", "input_schema": {"type": "object", "properties": {}}}


def seen(client: anthropic.Anthropic) -> dict[str, Any]:
    """Each call and what came of it."""
    arguments: dict[str, Any] = {"max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]}
    found: dict[str, Any] = {}
    found["create"] = message(client.messages.create(model=MODEL, **arguments))
    with client.messages.stream(model=MODEL, **arguments) as events:
        found["texts"] = list(events.text_stream)
        found["stream"] = message(events.get_final_message())
    found["events"] = [event.type for event in client.messages.create(model=MODEL, stream=True, **arguments)]
    with client.messages.stream(model=MODEL, tools=[TOOL], tool_choice={"type": "any"}, **arguments) as events:
        found["tool"] = message(events.get_final_message())
    thinking = arguments | {"max_tokens": 3000}
    with client.messages.stream(model=MODEL, thinking={"type": "enabled", "budget_tokens": 1024}, **thinking) as events:
        found["thinking"] = message(events.get_final_message())
    beta = client.beta.messages.create(model=MODEL, betas=["context-1m-2025-08-07"], **arguments)
    found["beta"] = message(beta)
    with client.beta.messages.stream(model=MODEL, betas=["context-1m-2025-08-07"], **arguments) as events:
        found["beta stream"] = message(events.get_final_message())
    found["count"] = client.messages.count_tokens(model=MODEL, messages=arguments["messages"]).input_tokens
    found["beta count"] = client.beta.messages.count_tokens(model=MODEL, messages=arguments["messages"]).input_tokens
    found["models"] = [model.id for model in client.models.list()]
    found["model"] = client.models.retrieve("claude-sim").id
    for status in (400, 404, 413, 429, 500, 529):
        found[f"error {status}"] = failure(client, f"claude-sim:fault={status}", arguments)
    found["error event"] = failure(client, "claude-sim:fault=error_event:3", arguments)
    found["cut"] = failure(client, "claude-sim:fault=close_after_events:4", arguments)["raised"]
    return found


def message(answer: Any) -> dict[str, Any]:
    """What is the same each time about a message."""
    fields = answer.model_dump(mode="json", exclude_unset=True)
    del fields["id"]
    for block in fields["content"]:
        block.pop("id", None)
        block.pop("parsed_output", None)
    return dict(fields)


def failure(client: anthropic.Anthropic, model: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The exception of a failing call. Its class for a cut is httpx's or the SDK's, by where it was cut."""
    try:
        with client.messages.stream(model=model, **arguments) as events:
            events.get_final_message()
    except anthropic.APIStatusError as error:
        body: Any = error.body
        return {"raised": True, "class": type(error).__name__, "status": error.status_code, "error": body["error"]}
    except Exception as error:
        return {"raised": True, "class": type(error).__name__}
    return {"raised": False}


def main() -> None:
    base_url, key = sys.argv[1:]
    with anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0) as client:
        json.dump({"version": anthropic.__version__, **seen(client)}, sys.stdout)


if __name__ == "__main__":
    main()
