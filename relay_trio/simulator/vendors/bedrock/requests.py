"""Bedrock's requests: reading, checking, and Converse in Claude's terms.

A Converse request is turned into the Claude message that it means, so that one rule counts its tokens, remembers its
cache points and composes its answer.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from relay_trio.simulator.plan import split_model
from relay_trio.simulator.provider import Call
from relay_trio.simulator.vendors.bedrock import sigv4
from relay_trio.simulator.vendors.bedrock.capabilities import check_capabilities
from relay_trio.simulator.vendors.bedrock.streams import ConverseStream, InvokeStream
from relay_trio.simulator.vendors.claude.requests import Invalid

if TYPE_CHECKING:
    from relay_trio.simulator.effects import Dialect
    from relay_trio.simulator.request import Request

CLAUDE_VERSIONS = ("bedrock-2023-05-31", "2026-10-21")
_PATH = re.compile(
    rb"/model/(?P<model>[^/]+)/(?P<verb>invoke|invoke-with-response-stream|converse|converse-stream|count-tokens)"
)
_DEFAULT_MAX_TOKENS = 64_000
_INVOKE_STREAM, _CONVERSE_STREAM = InvokeStream(), ConverseStream()


class Refusal(Invalid):
    """A request that is refused under a name of its own; ``kind`` as in ``Provider.error``."""

    def __init__(self, message: str, *, status: int, kind: str) -> None:
        super().__init__(message, status=status)
        self.kind = kind


def read_call(request: Request) -> Call:
    """Understand ``request`` as far as it goes. Never raises."""
    document = json_object(request.body)
    fields = document or {}
    model, verb = operation(request)
    metadata, labels = fields.get("metadata"), fields.get("requestMetadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    in_user = user[4:] if isinstance(user, str) and user.startswith("sim:") else ""
    in_label = labels.get("sim") if isinstance(labels, dict) else None
    in_header = (request.header(b"x-sim") or b"").decode("latin-1")
    dialect: Dialect = _CONVERSE_STREAM if verb.startswith("converse") else _INVOKE_STREAM
    return Call(
        request=request,
        credential=bearer(request) or sigv4.access_key_id(request),
        document=document,
        model=model,
        specs=(split_model(model)[1], in_user, in_label if isinstance(in_label, str) else "", in_header),
        is_stream=verb.endswith("-stream"),
        is_generation=request.method == "POST" and verb not in {"", "count-tokens"},
        dialect=dialect,
    )


def operation(request: Request) -> tuple[str, str]:
    """Model id, unescaped, and verb of a model's route; both empty for another path."""
    match = _PATH.fullmatch(request.path)
    return (unquote(match["model"].decode("latin-1")), match["verb"].decode()) if match else ("", "")


def bearer(request: Request) -> str | None:
    """The API key of ``request``, if it has one."""
    scheme, _, token = (request.header(b"authorization") or b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" and token.strip() else None


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in ``body``, or None."""
    try:
        document = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


# --- invoke -------------------------------------------------------------------------------------------------------


def claude_message(document: dict[str, Any] | None, model: str) -> dict[str, Any]:
    """The body of an invocation as the message request that it is; its content is still to be checked.

    Raises:
        Invalid: the model or the stream is named in the body, or the version is not.
    """
    if document is None:
        raise Invalid("Malformed input request, please reformat your input and try again.")
    for key in ("model", "stream"):
        if key in document:
            raise _malformed(f"extraneous key [{key}] is not permitted")
    if "anthropic_version" not in document:
        raise _malformed("required key [anthropic_version] not found")
    if document["anthropic_version"] not in CLAUDE_VERSIONS:
        raise _malformed("anthropic_version is not valid")
    betas = document.get("anthropic_beta", [])
    if not isinstance(betas, list) or not all(isinstance(beta, str) for beta in betas):
        raise _malformed("anthropic_beta: expected type: JSONArray of strings")
    check_capabilities(document, betas)
    return {**document, "model": model}


def _malformed(what: str) -> Invalid:
    return Invalid(f"Malformed input request: #: {what}, please reformat your input and try again.")


# --- converse -----------------------------------------------------------------------------------------------------


def converse_message(document: dict[str, Any] | None, model: str) -> dict[str, Any]:
    """A Converse request as a Claude message request; content that only Converse knows stays as it is.

    Raises:
        Invalid: a field that the API requires is missing or of the wrong kind.
    """
    if document is None:
        raise Invalid("The request body is not valid JSON")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("The messages field is required and must hold at least one message.")
    limit = _object(document, "inferenceConfig").get("maxTokens", _DEFAULT_MAX_TOKENS)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise Invalid("Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must be at least 1")
    tools = _object(document, "toolConfig")
    listed = tools.get("tools") or []
    if not isinstance(listed, list):
        raise Invalid("Value at 'toolConfig.tools' failed to satisfy constraint: expected a list")
    return {
        "model": model,
        "max_tokens": limit,
        "messages": [_message(index, message) for index, message in enumerate(messages)],
        "system": _blocks("system", document.get("system") or []),
        "tools": [_tool(tool) for tool in listed],
        "tool_choice": _tool_choice(tools.get("toolChoice")),
        "thinking": _object(document, "additionalModelRequestFields").get("thinking"),
    }


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise Invalid(f"Value at '{name}' failed to satisfy constraint: expected an object")
    return value


def _message(index: int, message: object) -> dict[str, Any]:
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise Invalid(f"Value at 'messages.{index}.role' must satisfy enum value set: [user, assistant]")
    return {"role": message["role"], "content": _blocks(f"messages.{index}.content", message.get("content"))}


def _blocks(name: str, blocks: object) -> list[Any]:
    """Content in Claude's blocks; a cache point marks the block before it."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Invalid(f"Value at '{name}' failed to satisfy constraint: expected a list of content blocks")
    made: list[dict[str, Any]] = []
    for block in blocks:
        if "cachePoint" not in block:
            made.append({"type": "text", "text": block["text"]} if "text" in block else block)
        elif made:
            made[-1] = {**made[-1], "cache_control": {"type": "ephemeral"}}
    return made


def _tool(tool: object) -> dict[str, Any]:
    spec = tool.get("toolSpec") if isinstance(tool, dict) else None
    if not isinstance(spec, dict):
        return {"tool": tool}
    schema = spec.get("inputSchema")
    return {
        "name": spec.get("name"),
        "description": spec.get("description") or "",
        "input_schema": schema.get("json") if isinstance(schema, dict) else None,
    }


def _tool_choice(choice: object) -> dict[str, Any] | None:
    if not isinstance(choice, dict):
        return None
    named = choice.get("tool")
    if isinstance(named, dict):
        return {"type": "tool", "name": named.get("name")}
    return {"type": "any"} if "any" in choice else None


# --- count-tokens -------------------------------------------------------------------------------------------------


def counted_message(document: dict[str, Any] | None, model: str) -> dict[str, Any]:
    """The message whose tokens are to be counted.

    Raises:
        Invalid: the input is neither an invocation nor a conversation.
    """
    given = (document or {}).get("input")
    if isinstance(given, dict) and isinstance(given.get("converse"), dict):
        return converse_message(given["converse"], model)
    invocation = given.get("invokeModel") if isinstance(given, dict) else None
    body = invocation.get("body") if isinstance(invocation, dict) else None
    if not isinstance(body, str):
        raise Invalid("Value at 'input' failed to satisfy constraint: exactly one of invokeModel, converse must be set")
    try:
        decoded = base64.b64decode(body, validate=True)
    except ValueError:
        raise Invalid("Value at 'input.invokeModel.body' failed to satisfy constraint: expected base64") from None
    return claude_message(json_object(decoded), model)
