"""The Claude Messages API: routes, status codes and error envelopes. Requests in, scripts out; no I/O, no faults.

Usage, events and checks are in the files beside this one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote

from relay_trio.simulator.ids import new_id
from relay_trio.simulator.plan import split_model
from relay_trio.simulator.script import Script, whole
from relay_trio.simulator.vendors.claude import events
from relay_trio.simulator.vendors.claude.batches import Batches
from relay_trio.simulator.vendors.claude.requests import Invalid, check_message, check_version, compose, read_call
from relay_trio.simulator.vendors.claude.settings import ClaudeSettings
from relay_trio.simulator.vendors.claude.tokens import PromptCache, count_tokens

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.provider import Call
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.script import Frame
    from relay_trio.simulator.settings import SimulatorSettings

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_BATCHES = b"/v1/messages/batches"


class Claude:
    """The provider: its cache and its batches live as long as the simulator."""

    name = "claude"

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._own = settings.own(ClaudeSettings)
        self._cache = PromptCache()
        self._batches = Batches(self._own.batch_seconds)

    def serves(self, request: Request) -> bool:
        """Everything: a path that no vendor has is refused as Claude refuses it."""
        return True

    def read(self, request: Request) -> Call:
        """Understand ``request``."""
        return read_call(request)

    def answer(self, call: Call, plan: Plan, request_id: str) -> Script:
        """The answer to ``call`` when nothing goes wrong but the request itself."""
        try:
            script = self._route(call, plan, request_id)
        except Invalid as error:
            script = self.error(error.status, error.message, request_id)
        script.delay = plan.delay
        script.batch_bytes = plan.batch
        return script

    def error(
        self, status: int, message: str, request_id: str, retry_after: bytes | None = None, kind: str = ""
    ) -> Script:
        """An error in the API's envelope; below 400, a redirect to nowhere."""
        headers = _headers(request_id)
        if retry_after is not None:
            headers.append((b"retry-after", retry_after))
        if status < 400:
            return whole(status, [*headers, (b"location", b"http://127.0.0.1:9/elsewhere")], b"")
        kind = kind or ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        headers.append((b"x-should-retry", b"true" if status in {408, 409, 429} or status >= 500 else b"false"))
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
        return _json(status, headers, body)

    def error_event(self, kind: str) -> Frame:
        """See ``effects.Dialect``."""
        return events.error_event(kind or "overloaded_error", "Overloaded (simulated)", new_id("req"))

    def malformed(self, kind: str) -> Frame:
        """See ``effects.Dialect``."""
        return events.malformed(kind)

    def huge_event(self, size: int) -> Frame:
        """See ``effects.Dialect``."""
        return events.huge_event(size)

    # --- routes ---------------------------------------------------------------------------------------------------

    def _route(self, call: Call, plan: Plan, request_id: str) -> Script:
        method, path = call.request.method, call.request.path
        if path == b"/" and method in {"GET", "HEAD"}:
            return _json(200, _headers(request_id), {"simulator": self.name})
        if call.credential is None:
            raise Invalid("x-api-key header is required", status=401)
        if self._settings.accepted_keys is not None and call.credential not in self._settings.accepted_keys:
            raise Invalid("invalid x-api-key", status=401)
        if call.request.is_too_large:
            raise Invalid("Request exceeds the maximum size", status=413)
        check_version(call.request)
        if path == b"/v1/messages":
            _check_method(method, "POST")
            return self._message(call, plan, request_id)
        if path == b"/v1/messages/count_tokens":
            _check_method(method, "POST")
            document = check_message(call.document, needs_max_tokens=False)
            tokens = count_tokens(document) if plan.input is None else plan.input
            return _json(200, _headers(request_id), {"input_tokens": tokens})
        if path == b"/v1/models" or path.startswith(b"/v1/models/"):
            _check_method(method, "GET")
            return _json(200, _headers(request_id), self._models(call.request))
        if path == _BATCHES or path.startswith(_BATCHES + b"/"):
            return self._batch(call, plan, request_id)
        raise Invalid("Not found", status=404)

    def _message(self, call: Call, plan: Plan, request_id: str) -> Script:
        document = check_message(call.document)
        self._check_model(call.model)
        made = compose(document, plan, self._cache.count(document, call.credential or ""))
        message_id = new_id("msg")
        headers = _headers(request_id) + _RATE_HEADERS
        if call.is_stream:
            frames = events.stream_frames(message_id, call.model, made, plan)
            return Script(200, [*headers, *_STREAM_HEADERS], frames)
        body = events.whole_message(message_id, call.model, made, plan)
        script = whole(200, [*headers, *_JSON_HEADERS], body, usage=events.whole_usage(made, plan), member="usage")
        script.generation_steps, script.step_tokens = made.steps, plan.tokens
        return script

    def _check_model(self, model: str) -> None:
        name, _ = split_model(model)
        if not self._settings.accepts_unknown_models and name not in self._own.models:
            raise Invalid(f"model: {name}", status=404)

    def _models(self, request: Request) -> dict[str, Any]:
        listed = [_model(name) for name in self._own.models]
        named = unquote(request.path.decode("latin-1")).removeprefix("/v1/models").strip("/")
        if named:
            name, _ = split_model(named)
            if self._settings.accepts_unknown_models or name in self._own.models:
                return _model(named)
            raise Invalid(f"model: {named}", status=404)
        query = parse_qs(request.query.decode("latin-1"))
        names = list(self._own.models)
        start = names.index(query["after_id"][0]) + 1 if query.get("after_id", [""])[0] in names else 0
        limit = query.get("limit", ["20"])[0]
        size = int(limit) if limit.isdecimal() else 20
        page = listed[start : start + size]
        return {
            "data": page,
            "has_more": start + size < len(listed),
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }

    def _batch(self, call: Call, plan: Plan, request_id: str) -> Script:
        headers = _headers(request_id)
        rest = call.request.path[len(_BATCHES) :].decode("latin-1").strip("/").split("/")
        batch_id, verb = rest[0], "/".join(rest[1:])
        match call.request.method, batch_id, verb:
            case "POST", "", "":
                return _json(200, headers, self._batches.create(call.document))
            case "GET", "", "":
                return _json(200, headers, self._batches.list())
            case "GET", _, "":
                return _json(200, headers, self._batches.get(batch_id))
            case "POST", _, "cancel":
                return _json(200, headers, self._batches.cancel(batch_id))
            case "DELETE", _, "":
                return _json(200, headers, self._batches.delete(batch_id))
            case "GET", _, "results":
                return whole(
                    200, [*headers, (b"content-type", b"application/x-jsonl")], self._batches.results(batch_id, plan)
                )
        raise Invalid("Not found", status=404)


_RATE_HEADERS = [
    (b"anthropic-ratelimit-requests-limit", b"4000"),
    (b"anthropic-ratelimit-requests-remaining", b"3999"),
    (b"anthropic-ratelimit-requests-reset", b"2030-01-01T00:00:00Z"),
    (b"anthropic-ratelimit-tokens-limit", b"280000"),
    (b"anthropic-ratelimit-tokens-remaining", b"279000"),
    (b"anthropic-ratelimit-tokens-reset", b"2030-01-01T00:00:00Z"),
]
_STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_JSON_HEADERS = [(b"content-type", b"application/json")]


def _headers(request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"request-id", request_id.encode()),
        (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
    ]


def _json(status: int, headers: list[tuple[bytes, bytes]], document: object) -> Script:
    return whole(status, [*headers, *_JSON_HEADERS], json.dumps(document).encode())


def _check_method(method: str, expected: str) -> None:
    if method != expected:
        raise Invalid("Method Not Allowed", status=405)


def _model(name: str) -> dict[str, Any]:
    return cast(
        "dict[str, Any]",
        {
            "type": "model",
            "id": name,
            "display_name": name.replace("-", " ").title(),
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 200_000,
            "max_tokens": 64_000,
        },
    )
