"""Claude's requests: reading, checking, and what will be in the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.plan import split_model
from relay_trio.simulator.provider import Call
from relay_trio.simulator.request import document_of
from relay_trio.simulator.schemas import example
from relay_trio.simulator.script import Usage
from relay_trio.simulator.vendors.claude.events import Composition

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.vendors.claude.tokens import InputTokens

VERSIONS = frozenset({b"2023-06-01", b"2026-10-21"})
_ROLES = frozenset({"user", "assistant", "system"})


class Invalid(Exception):
    """The request breaks a rule of the API: 400 ``invalid_request_error`` unless said otherwise."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def read_call(request: Request) -> Call:
    """Understand ``request`` as far as it goes. Never raises."""
    document = document_of(request)
    fields = document or {}
    model = fields.get("model")
    model = model if isinstance(model, str) else ""
    metadata = fields.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    in_user = user[4:] if isinstance(user, str) and user.startswith("sim:") else ""
    in_header = (request.header(b"x-sim") or b"").decode("latin-1")
    return Call(
        request=request,
        credential=_credential(request),
        document=document,
        model=model,
        specs=(split_model(model)[1], in_user, in_header),
        is_stream=fields.get("stream") is True,
        is_generation=request.path == b"/v1/messages" and request.method == "POST",
    )


def _credential(request: Request) -> str | None:
    key = request.header(b"x-api-key")
    if key:
        return key.decode("latin-1")
    scheme, _, token = (request.header(b"authorization") or b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" and token.strip() else None


def check_version(request: Request) -> None:
    """Raises ``Invalid`` when ``anthropic-version`` is missing or unknown."""
    version = request.header(b"anthropic-version")
    if version is None:
        raise Invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise Invalid(f"anthropic-version: {version.decode('latin-1')!r} is not a valid version")


def check_message(document: dict[str, Any] | None, *, needs_max_tokens: bool = True) -> dict[str, Any]:
    """The document of a message request, if it is one.

    Raises:
        Invalid: a field that the API requires is missing or of the wrong kind.
    """
    if document is None:
        raise Invalid("The request body is not valid JSON")
    if not isinstance(document.get("model"), str) or not document["model"]:
        raise Invalid("model: Field required")
    if needs_max_tokens:
        limit = document.get("max_tokens")
        if limit is None:
            raise Invalid("max_tokens: Field required")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise Invalid("max_tokens: Input should be greater than or equal to 1")
    messages = document.get("messages")
    if messages is None:
        raise Invalid("messages: Field required")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages: at least one message is required")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise Invalid(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if not isinstance(message.get("content"), str | list):
            raise Invalid(f"messages.{index}.content: Field required")
    if not isinstance(document.get("stream", False), bool | None):
        raise Invalid("stream: Input should be a valid boolean")
    return document


def compose(document: dict[str, Any], plan: Plan, counted: InputTokens) -> Composition:
    """What the message will hold. ``max_tokens`` bounds the deltas, thinking first; a tool's JSON is always whole."""
    per_delta = max(1, plan.tokens)
    room = max(1, document["max_tokens"] // per_delta)
    thinking = min(plan.thinking, room - 1) if _wants_thinking(document) else 0
    tool = _forced_tool(document)
    planned = max(1, plan.chunks)
    visible = min(planned, room - thinking)
    pieces: tuple[str, ...] = ()
    if tool is not None:
        pieces = _pieces(json.dumps(example(tool.get("input_schema"))), visible)
    stop_reason = "tool_use" if tool is not None else "max_tokens" if visible < planned else "end_turn"
    output = (thinking + (len(pieces) if tool is not None else visible)) * plan.tokens
    tokens = [
        computed if given is None else given
        for given, computed in (
            (plan.input, counted.uncached),
            (plan.cache_creation, counted.created),
            (plan.cache_read, counted.read),
        )
    ]
    first = output + 7 if plan.usage == "decreasing" else min(1, output)
    start = Usage(tokens[0], first, tokens[1], tokens[2])
    final_input = tokens[0] if plan.delta_input is None else plan.delta_input
    end = Usage(final_input, output, tokens[1], tokens[2])
    return Composition(
        thinking=thinking,
        text=0 if tool is not None else visible,
        tool_name=str(tool.get("name")) if tool is not None else None,
        tool_pieces=pieces,
        stop_reason=stop_reason,
        start=start,
        end=end,
        thinking_tokens=thinking * plan.tokens,
        delta_input=plan.delta_input,
    )


def _wants_thinking(document: dict[str, Any]) -> bool:
    thinking = document.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in {"enabled", "adaptive"}


def _forced_tool(document: dict[str, Any]) -> dict[str, Any] | None:
    choice, tools = document.get("tool_choice"), document.get("tools")
    if not isinstance(choice, dict) or not isinstance(tools, list):
        return None
    for tool in tools:
        if isinstance(tool, dict) and (choice.get("type") == "any" or tool.get("name") == choice.get("name")):
            return tool
    return None


def _pieces(text: str, count: int) -> tuple[str, ...]:
    """``text`` in at most ``count`` pieces of one size, the last perhaps shorter."""
    size = -(-len(text) // count)
    return tuple(text[start : start + size] for start in range(0, len(text), size))
