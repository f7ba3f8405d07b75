"""Gemini's requests: paths, credentials, checks, and what will be in the answer.

The model, and with it a spec, stands in the path: ``/v1beta/models/gemini-sim:chunks=5,fault=429:generateContent``.
Fields are read in both spellings of protocol buffers' JSON, ``maxOutputTokens`` and ``max_output_tokens``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, unquote

from relay_trio.simulator.plan import split_model
from relay_trio.simulator.provider import Call
from relay_trio.simulator.request import document_of
from relay_trio.simulator.schemas import example
from relay_trio.simulator.text import count_words
from relay_trio.simulator.vendors.gemini.errors import Refused
from relay_trio.simulator.vendors.gemini.events import Composition

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.request import Request

GENERATING = frozenset({"generateContent", "streamGenerateContent"})
_VERBS = GENERATING | {"countTokens", "embedContent", "batchEmbedContents"}
_PATH = re.compile(
    r"/(?P<version>v1|v1beta|v1alpha|v1beta1)/"
    r"(?P<scope>projects/[^/]+/locations/[^/]+/publishers/google/|publishers/google/|)models(?:/(?P<name>.+))?",
    re.DOTALL,
)
_ROLES = frozenset({None, "", "user", "model", "function", "tool"})
_SERVER_TOOLS = ("googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext")
_TOKENS_PER_PART = 2
_TOOL_USE_TOKENS = 102
"""What a tool that runs at Google adds to the prompt, reported as ``toolUsePromptTokenCount``."""
_CACHED_TOKENS = 594
"""The size of every cached content that a request names."""


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A path under ``models``: ``model`` with its spec, empty for the list; ``verb`` is empty for a GET.

    ``resource`` is the model's name as Google writes it in errors and lists, without the spec.
    """

    version: str
    scope: str
    model: str
    verb: str

    @property
    def is_vertex(self) -> bool:
        return bool(self.scope)

    @property
    def name(self) -> str:
        return split_model(self.model)[0]

    @property
    def resource(self) -> str:
        return f"{self.scope}models/{self.name}"


def read_target(request: Request) -> Target | None:
    """What ``request``'s path names, or None when it is none of ours. Never raises."""
    match = _PATH.fullmatch(unquote(request.path.decode("latin-1")))
    if match is None:
        return None
    model, verb = match["name"] or "", ""
    if request.method != "GET":
        model, _, verb = model.rpartition(":")
    return Target(match["version"], match["scope"], model, verb)


def is_ours(request: Request) -> bool:
    """Whether ``request`` is for this API: ``GET /v1/models`` is also Claude's, and the credential decides."""
    target = read_target(request)
    if target is None:
        return request.path.startswith((b"/v1beta/", b"/v1alpha/", b"/v1beta1/"))
    if target.verb or target.version != "v1" or target.is_vertex:
        return True
    return request.header(b"x-goog-api-key") is not None or "key" in _query(request)


def is_array(request: Request) -> bool:
    """Whether ``request`` is for a stream without ``alt=sse``: the answer is then one JSON array."""
    target = read_target(request)
    is_stream = target is not None and target.verb == "streamGenerateContent"
    query = _query(request)
    return is_stream and query.get("alt", query.get("$alt", [""]))[-1] != "sse"


def read_call(request: Request) -> Call:
    """Understand ``request`` as far as it goes. Never raises."""
    document = document_of(request)
    target = read_target(request)
    model, verb = (target.model, target.verb) if target is not None else ("", "")
    return Call(
        request=request,
        credential=read_credential(request)[1],
        document=document,
        model=model,
        specs=(split_model(model)[1], (request.header(b"x-sim") or b"").decode("latin-1")),
        is_stream=verb == "streamGenerateContent",
        is_generation=verb in GENERATING and request.method == "POST",
    )


def read_credential(request: Request) -> tuple[Literal["key", "token", ""], str | None]:
    """The kind of the credential and the credential: a key from the header or the query, or a bearer token."""
    key = request.header(b"x-goog-api-key")
    if key:
        return "key", key.decode("latin-1")
    in_query = _query(request).get("key", [""])[0]
    if in_query:
        return "key", in_query
    scheme, _, token = (request.header(b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        return "token", token.strip().decode("latin-1")
    return "", None


def _query(request: Request) -> dict[str, list[str]]:
    return parse_qs(request.query.decode("latin-1"))


def get(document: object, name: str) -> Any:
    """A field by its camel-case name, also when it was sent in snake case; None where there is none."""
    if not isinstance(document, dict):
        return None
    if name in document:
        return document[name]
    return document.get(re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name))


# --- checking and counting ----------------------------------------------------------------------------------------


def check_contents(document: dict[str, Any] | None) -> dict[str, Any]:
    """The document of a request with contents, if it is one.

    Raises:
        Refused: a field that the API requires is missing or of the wrong kind.
    """
    if document is None:
        raise Refused("Invalid JSON payload received. Expected an object.")
    contents = document.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Refused("* GenerateContentRequest.contents: contents is not specified\n")
    for index, content in enumerate(contents):
        if not isinstance(content, dict) or content.get("role") not in _ROLES:
            raise Refused("Please use a valid role: user, model.")
        if not isinstance(content.get("parts"), list | dict) or not content["parts"]:
            raise Refused(f"* GenerateContentRequest.contents[{index}].parts: must not be empty.\n")
    limit = get(get(document, "generationConfig"), "maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise Refused("* GenerateContentRequest.generation_config.max_output_tokens: must be positive.\n")
    return document


def count_tokens(document: dict[str, Any]) -> int:
    """All prompt tokens of ``document``: words of tools, instruction and contents, and a little for each part."""
    instruction = get(document, "systemInstruction")
    blocks = [*_as_list(document.get("tools")), *_parts(instruction)]
    for content in _as_list(document.get("contents")):
        blocks += _parts(content)
    return sum(count_words(block) + _TOKENS_PER_PART for block in blocks)


def _parts(content: object) -> list[Any]:
    return _as_list(content.get("parts")) if isinstance(content, dict) else _as_list(content)


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


# --- composing ----------------------------------------------------------------------------------------------------


def compose(document: dict[str, Any], plan: Plan) -> Composition:
    """What the answer will hold. ``maxOutputTokens`` bounds the deltas, thinking first, shown or not."""
    settings = get(document, "generationConfig")
    per_delta = max(1, plan.tokens)
    planned = max(1, plan.chunks)
    limit = get(settings, "maxOutputTokens")
    room = planned + plan.thinking if limit is None else max(1, limit // per_delta)
    is_thinking, is_shown = _thinking(get(settings, "thinkingConfig"))
    thinking = min(plan.thinking, room - 1) if is_thinking else 0
    visible = min(planned, room - thinking)
    cached = _CACHED_TOKENS if get(document, "cachedContent") else 0
    if plan.cache_read is not None:
        cached = plan.cache_read
    uncached = count_tokens(document) if plan.input is None else plan.input
    tool_use = _TOOL_USE_TOKENS if _uses_server_tool(document) else 0
    prompt = end_prompt = uncached + cached
    if plan.delta_input is not None:
        end_prompt = max(0, plan.delta_input - tool_use) + cached
    return Composition(
        thoughts=thinking if is_shown else 0,
        hidden_thoughts=0 if is_shown else thinking,
        text=visible,
        call=_forced_call(document),
        finish_reason="MAX_TOKENS" if visible < planned else "STOP",
        prompt=prompt,
        end_prompt=end_prompt,
        cached=cached,
        tool_use=tool_use,
        tokens=plan.tokens,
    )


def _thinking(config: object) -> tuple[bool, bool]:
    """Whether the model thinks, and whether it shows it: it thinks only if the request configures its thinking."""
    is_thinking = isinstance(config, dict) and get(config, "thinkingBudget") != 0
    return is_thinking, get(config, "includeThoughts") is True


def _uses_server_tool(document: dict[str, Any]) -> bool:
    return any(get(tool, name) is not None for tool in _as_list(document.get("tools")) for name in _SERVER_TOOLS)


def _forced_call(document: dict[str, Any]) -> dict[str, Any] | None:
    calling = get(get(document, "toolConfig"), "functionCallingConfig")
    if str(get(calling, "mode")).upper() != "ANY":
        return None
    allowed = _as_list(get(calling, "allowedFunctionNames"))
    for tool in _as_list(document.get("tools")):
        for function in _as_list(get(tool, "functionDeclarations")):
            name = get(function, "name")
            if name is not None and (not allowed or name in allowed):
                schema = get(function, "parametersJsonSchema") or get(function, "parameters")
                return {"name": name, "args": example(schema)}
    return None
