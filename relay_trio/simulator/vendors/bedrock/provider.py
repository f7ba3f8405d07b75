"""The Bedrock runtime: routes, authentication, status codes and error headers. Requests in, scripts out; no I/O.

Every model is a Claude here. Model ids are what clients send: plain names, foundation model ids, inference profiles,
ARNs, each with a spec if need be (``anthropic.claude-sim-v1:0:chunks=5``).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from relay_trio.simulator.ids import new_id
from relay_trio.simulator.plan import split_model
from relay_trio.simulator.script import Script, whole
from relay_trio.simulator.vendors.bedrock import events, sigv4
from relay_trio.simulator.vendors.bedrock.requests import (
    Refusal,
    bearer,
    claude_message,
    converse_message,
    counted_message,
    operation,
    read_call,
)
from relay_trio.simulator.vendors.bedrock.settings import BedrockSettings
from relay_trio.simulator.vendors.bedrock.streams import InvokeStream
from relay_trio.simulator.vendors.claude import events as claude_events
from relay_trio.simulator.vendors.claude.requests import Invalid, check_message, compose
from relay_trio.simulator.vendors.claude.tokens import PromptCache, count_tokens

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.provider import Call
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.settings import SimulatorSettings
    from relay_trio.simulator.vendors.claude.events import Composition

SERVICE = "bedrock"
ERROR_TYPES = {
    400: "ValidationException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "RequestEntityTooLargeException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_OF_SERVICE = "http://internal.amazon.com/coral/com.amazon.bedrock/"
_OF_FRAMEWORK = "http://internal.amazon.com/coral/com.amazon.coral.service/"
_PROFILES = b"/inference-profiles"
_ACCOUNT = "123456789012"
_REGIONS = ("us", "eu", "global")
_MODEL_ID = re.compile(r"(?:.*/)?(?:[a-z]{2,6}\.)?(?:anthropic\.)?(?P<name>.+?)(?:-v\d+(?::\d+)*)?")


class Bedrock(InvokeStream):
    """The provider: its prompt cache lives as long as the simulator. What is no stream has an invocation's faults."""

    name = "bedrock"

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._own = settings.own(BedrockSettings)
        self._cache = PromptCache()

    def serves(self, request: Request) -> bool:
        """Routes of models, and the list of inference profiles."""
        return request.path.startswith(b"/model/") or request.path == _PROFILES

    def read(self, request: Request) -> Call:
        """Understand ``request``."""
        return read_call(request)

    def answer(self, call: Call, plan: Plan, request_id: str) -> Script:
        """The answer to ``call`` when nothing goes wrong but the request itself."""
        try:
            script = self._route(call, plan, request_id)
        except sigv4.Refused as error:
            script = _error(403, error.message, request_id, error.kind, _OF_FRAMEWORK)
        except Refusal as error:
            script = _error(error.status, error.message, request_id, error.kind, _OF_FRAMEWORK)
        except Invalid as error:
            script = self.error(error.status, error.message, request_id)
        script.delay = plan.delay
        script.batch_bytes = plan.batch
        return script

    def error(
        self, status: int, message: str, request_id: str, retry_after: bytes | None = None, kind: str = ""
    ) -> Script:
        """An error of the service, named in its header; below 400, a redirect to nowhere."""
        extra = [] if retry_after is None else [(b"retry-after", retry_after)]
        if status < 400:
            location = (b"location", b"http://127.0.0.1:9/elsewhere")
            return whole(status, [*_headers(request_id), *extra, location], b"")
        kind = kind or ERROR_TYPES.get(status, "InternalServerException" if status >= 500 else "ValidationException")
        script = _error(status, message, request_id, kind, _OF_SERVICE)
        script.headers += extra
        return script

    # --- routes ---------------------------------------------------------------------------------------------------

    def _route(self, call: Call, plan: Plan, request_id: str) -> Script:
        request = call.request
        if request.is_too_large:
            raise Refusal("Request is too large", status=413, kind=ERROR_TYPES[413])
        self._authenticate(request)
        model, verb = operation(request)
        if request.path == _PROFILES and request.method == "GET":
            return _json(200, _headers(request_id), self._profiles(request))
        if not verb or request.method != "POST":
            raise Refusal("Unable to determine service/operation name", status=404, kind="UnknownOperationException")
        self._check_model(model)
        name = split_model(model)[0]
        if verb == "count-tokens":
            message = check_message(counted_message(call.document, name), needs_max_tokens=False)
            tokens = count_tokens(message) if plan.input is None else plan.input
            return _json(200, _headers(request_id), {"inputTokens": tokens})
        understood = converse_message if verb.startswith("converse") else claude_message
        message = check_message(understood(call.document, name))
        made = compose(message, plan, self._cache.count(message, call.credential or ""))
        answer = _conversation if verb.startswith("converse") else _invocation
        return answer(name, call, made, plan, request_id)

    def _authenticate(self, request: Request) -> None:
        """An API key that is accepted, or a signature that is right.

        Raises:
            Invalid: the API key is not accepted.
            sigv4.Refused: there is no signature, or it is not right.
        """
        key = bearer(request)
        if key is None:
            sigv4.verify(request, self._own.access_keys, service=SERVICE, region=self._own.region)
        elif self._settings.accepted_keys is not None and key not in self._settings.accepted_keys:
            raise Invalid("Authentication failed: Please make sure your API Key is valid.", status=403)

    def _check_model(self, model: str) -> None:
        name, _ = split_model(model)
        known = self._own.models
        if not self._settings.accepts_unknown_models and name not in known and plain_name(name) not in known:
            raise Invalid("The provided model identifier is invalid.")

    def _profiles(self, request: Request) -> dict[str, Any]:
        query = parse_qs(request.query.decode("latin-1"))
        named = query.get("type", ["SYSTEM_DEFINED"])[0]
        if named not in {"SYSTEM_DEFINED", "APPLICATION"}:
            raise Invalid("Value at 'type' must satisfy enum value set: [SYSTEM_DEFINED, APPLICATION]")
        limit, start = query.get("maxResults", ["1000"])[0], query.get("nextToken", ["0"])[0]
        if not limit.isdecimal() or not start.isdecimal() or not 1 <= int(limit) <= 1000:
            raise Invalid("Value at 'maxResults' or 'nextToken' failed to satisfy constraint")
        listed = [_profile(region, model) for region in _REGIONS for model in self._own.models]
        listed = listed if named == "SYSTEM_DEFINED" else []
        end = int(start) + int(limit)
        page: dict[str, Any] = {"inferenceProfileSummaries": listed[int(start) : end]}
        return page if end >= len(listed) else {**page, "nextToken": str(end)}


def plain_name(model: str) -> str:
    """The name in a model id: without ARN, region, vendor and version."""
    match = _MODEL_ID.fullmatch(model)
    return match["name"] if match else model


# --- answers ------------------------------------------------------------------------------------------------------


def _invocation(model: str, call: Call, made: Composition, plan: Plan, request_id: str) -> Script:
    message_id = new_id("msg_bdrk")
    if call.is_stream:
        frames = events.invoke_frames(message_id, plain_name(model), made, plan)
        return Script(200, [*_headers(request_id), *_STREAM_HEADERS], frames)
    body = claude_events.whole_message(message_id, plain_name(model), made, plan)
    counts = _count_headers(made, plan)
    return _generated([*_headers(request_id), *counts], body, made, plan, is_usage_in_head=bool(counts))


def _conversation(model: str, call: Call, made: Composition, plan: Plan, request_id: str) -> Script:
    if call.is_stream:
        return Script(200, [*_headers(request_id), _EVENT_STREAM], events.converse_frames(made, plan))
    return _generated(_headers(request_id), events.whole_conversation(made, plan), made, plan)


def _generated(
    headers: list[tuple[bytes, bytes]], body: bytes, made: Composition, plan: Plan, *, is_usage_in_head: bool = False
) -> Script:
    usage = claude_events.whole_usage(made, plan)
    script = whole(200, [*headers, _JSON], body, usage=usage, member="usage", is_usage_in_head=is_usage_in_head)
    script.generation_steps, script.step_tokens = made.steps, plan.tokens
    return script


def _count_headers(made: Composition, plan: Plan) -> list[tuple[bytes, bytes]]:
    counts = events.metrics(made, plan) or {}
    return [
        (b"x-amzn-bedrock-" + name, str(counts[key]).encode())
        for key, name in _COUNT_HEADERS.items()
        if counts.get(key) is not None
    ]


_COUNT_HEADERS = {
    "invocationLatency": b"invocation-latency",
    "cacheReadInputTokenCount": b"cache-read-input-token-count",
    "cacheWriteInputTokenCount": b"cache-write-input-token-count",
    "inputTokenCount": b"input-token-count",
    "outputTokenCount": b"output-token-count",
}
_JSON = (b"content-type", b"application/json")
_EVENT_STREAM = (b"content-type", b"application/vnd.amazon.eventstream")
_STREAM_HEADERS = [_EVENT_STREAM, (b"x-amzn-bedrock-content-type", b"application/json")]


def _headers(request_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-amzn-requestid", request_id.encode())]


def _json(status: int, headers: list[tuple[bytes, bytes]], document: object) -> Script:
    return whole(status, [*headers, _JSON], json.dumps(document).encode())


def _error(status: int, message: str, request_id: str, kind: str, place: str) -> Script:
    return _json(
        status, [*_headers(request_id), (b"x-amzn-errortype", f"{kind}:{place}".encode())], {"message": message}
    )


def _profile(region: str, model: str) -> dict[str, Any]:
    foundation = f"anthropic.{model}-v1:0"
    profile = f"{region}.{foundation}"
    return {
        "inferenceProfileName": f"{region.upper()} {model.replace('-', ' ').title()}",
        "inferenceProfileId": profile,
        "inferenceProfileArn": f"arn:aws:bedrock:us-east-1:{_ACCOUNT}:inference-profile/{profile}",
        "models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{foundation}"}],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }
