"""The Gemini API and its like on Vertex: routes, credentials, answers. Requests in, scripts out; no I/O, no faults.

One provider for each form of a stream, because faults inside a stream are written in its form: ``Gemini`` for events,
and for all that is not streamed, ``GeminiArrays`` for arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay_trio.simulator.script import Script, Usage, whole
from relay_trio.simulator.vendors.gemini import errors, events, models
from relay_trio.simulator.vendors.gemini.errors import Refused
from relay_trio.simulator.vendors.gemini.forms import Array, Events, pretty
from relay_trio.simulator.vendors.gemini.requests import (
    GENERATING,
    check_contents,
    compose,
    count_tokens,
    get,
    is_array,
    is_ours,
    read_call,
    read_credential,
    read_target,
)
from relay_trio.simulator.vendors.gemini.settings import GeminiSettings

if TYPE_CHECKING:
    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.provider import Call
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.script import Frame, Headers
    from relay_trio.simulator.settings import SimulatorSettings
    from relay_trio.simulator.vendors.gemini.errors import Details
    from relay_trio.simulator.vendors.gemini.forms import Form
    from relay_trio.simulator.vendors.gemini.requests import Target

_JSON = b"application/json; charset=UTF-8"


class Gemini:
    """The provider of what is a stream of events, or no stream."""

    name = "gemini"
    form: Form = Events()

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._own = settings.own(GeminiSettings)

    def serves(self, request: Request) -> bool:
        """Everything under ``models``, and what only Google's API versions can mean."""
        return is_ours(request) and is_array(request) == isinstance(self.form, Array)

    def read(self, request: Request) -> Call:
        """Understand ``request``."""
        return read_call(request)

    def answer(self, call: Call, plan: Plan, request_id: str) -> Script:
        """The answer to ``call`` when nothing goes wrong but the request itself."""
        try:
            script = self._route(call, plan, request_id)
        except Refused as error:
            script = self._error(error.status, error.message, request_id, error.details)
        script.delay = plan.delay
        script.batch_bytes = plan.batch
        return script

    def error(
        self, status: int, message: str, request_id: str, retry_after: bytes | None = None, kind: str = ""
    ) -> Script:
        """An error in Google's envelope, with ``retry_after`` inside; below 400, a redirect to nowhere."""
        return self._error(status, message, request_id, errors.delay_details(status, retry_after), kind)

    def error_event(self, kind: str) -> Frame:
        """See ``effects.Dialect``."""
        return self.form.error_event(kind)

    def malformed(self, kind: str) -> Frame:
        """See ``effects.Dialect``."""
        return self.form.malformed(kind)

    def huge_event(self, size: int) -> Frame:
        """See ``effects.Dialect``."""
        return self.form.huge_event(size)

    def _error(self, status: int, message: str, request_id: str, details: Details, kind: str = "") -> Script:
        headers = _headers(request_id)
        if status < 400:
            return whole(status, [*headers, (b"location", b"http://127.0.0.1:9/elsewhere")], b"")
        body = self.form.error_body(errors.envelope(status, message, details, kind))
        return whole(status, [*headers, (b"content-type", _JSON)], body)

    # --- routes ---------------------------------------------------------------------------------------------------

    def _route(self, call: Call, plan: Plan, request_id: str) -> Script:
        target = read_target(call.request)
        if target is None:
            raise Refused("Requested entity was not found.", status=404)
        self._check_credential(call.request, target)
        if call.request.is_too_large:
            raise Refused(f"Request payload size exceeds the limit: {self._settings.max_body_bytes} bytes.")
        self._check_model(target)
        match call.request.method, target.verb:
            case "GET", "":
                return _answer(request_id, self._catalogue(call.request, target))
            case "POST", verb if verb in GENERATING:
                return self._generate(call, plan, request_id, target)
            case "POST", "countTokens":
                return _answer(request_id, _counted(call, plan, target))
            case "POST", "embedContent" | "batchEmbedContents":
                return _embedded(call, plan, request_id, target)
        raise Refused("Requested entity was not found.", status=404)

    def _check_credential(self, request: Request, target: Target) -> None:
        kind, credential = read_credential(request)
        if credential is None:
            raise errors.no_credential(is_vertex=target.is_vertex)
        if self._settings.accepted_keys is not None and credential not in self._settings.accepted_keys:
            wrong = errors.wrong_key if kind == "key" else errors.wrong_token
            raise wrong(is_vertex=target.is_vertex)

    def _check_model(self, target: Target) -> None:
        known = target.name in self._own.models or self._settings.accepts_unknown_models
        if known or (not target.verb and not target.model):
            return
        if target.is_vertex:
            raise Refused(f"Publisher Model `{target.resource}` not found.", status=404)
        raise Refused(
            f"{target.resource} is not found for API version {target.version}, or is not supported for "
            f"{target.verb or 'GetModel'}. Call ListModels to see the list of available models and their supported "
            "methods.",
            status=404,
        )

    def _catalogue(self, request: Request, target: Target) -> dict[str, Any]:
        if target.model:
            return models.one_model(target)
        return models.list_models(target, self._own.models, request)

    def _generate(self, call: Call, plan: Plan, request_id: str, target: Target) -> Script:
        made = compose(check_contents(call.document), plan)
        source = events.Source(target.name, request_id, target.is_vertex)
        if call.is_stream:
            frames = self.form.frames(events.stream_chunks(made, plan, source))
            content = [(b"content-type", self.form.content_type), (b"content-disposition", b"attachment")]
            return Script(200, [*_headers(request_id), *content], frames)
        document, usage = events.whole_answer(made, plan, source)
        script = _answer(request_id, document, usage)
        script.generation_steps, script.step_tokens = made.steps, plan.tokens
        return script


class GeminiArrays(Gemini):
    """The provider of streams that are one JSON array."""

    name = "gemini-array"
    form = Array()


# --- answers that are not generated -------------------------------------------------------------------------------


def _counted(call: Call, plan: Plan, target: Target) -> dict[str, Any]:
    given = get(call.document, "generateContentRequest") or call.document
    tokens = count_tokens(check_contents(given if isinstance(given, dict) else None))
    tokens = tokens if plan.input is None else plan.input
    document: dict[str, Any] = {"totalTokens": tokens}
    if target.is_vertex:
        document["totalBillableCharacters"] = 4 * tokens
    document["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens}]
    return document


def _embedded(call: Call, plan: Plan, request_id: str, target: Target) -> Script:
    is_batch = target.verb == "batchEmbedContents"
    given = get(call.document, "requests") if is_batch else [call.document]
    embeddings, tokens = models.embed(given if isinstance(given, list) else [])
    tokens = tokens if plan.input is None else plan.input
    fields, usage = events.report(events.Counts(tokens), plan.usage, target.is_vertex)
    document: dict[str, Any] = {"embeddings": embeddings} if is_batch else {"embedding": embeddings[0]}
    if fields is not None:
        if not target.is_vertex:
            fields.pop("totalTokenCount")  # observed: only Vertex reports it here
        document["usageMetadata"] = fields
    return _answer(request_id, document, usage)


def _answer(request_id: str, document: object, usage: Usage | None = None) -> Script:
    return whole(
        200, [*_headers(request_id), (b"content-type", _JSON)], pretty(document), usage=usage, member="usageMetadata"
    )


def _headers(request_id: str) -> Headers:
    """Google's, and the id by which the truth finds the record: Google has ids in bodies only (``responseId``)."""
    return [
        (b"request-id", request_id.encode()),
        (b"vary", b"Origin, X-Origin, Referer"),
        (b"server", b"scaffolding on HTTPServer2"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"server-timing", b"gfet4t7; dur=1"),
    ]
