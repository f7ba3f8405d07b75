"""The toy's API: requests in, scripts out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from relay_trio.simulator.plan import split_model
from relay_trio.simulator.provider import Call
from relay_trio.simulator.script import Script, Usage, frame, whole
from relay_trio.simulator.text import count_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay_trio.simulator.plan import Plan
    from relay_trio.simulator.request import Request
    from relay_trio.simulator.script import Frame
    from relay_trio.simulator.settings import SimulatorSettings


class Toy:
    """The provider."""

    name = "toy"

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings

    def serves(self, request: Request) -> bool:
        return request.path.startswith(b"/toy/")

    def read(self, request: Request) -> Call:
        document: dict[str, Any] = json.loads(request.body) if request.body else {}
        key = request.header(b"x-toy-key")
        model = str(document.get("model", ""))
        return Call(
            request=request,
            credential=None if key is None else key.decode(),
            document=document,
            model=model,
            specs=(split_model(model)[1],),
            is_stream=document.get("stream") is True,
            is_generation=request.method == "POST",
        )

    def answer(self, call: Call, plan: Plan, request_id: str) -> Script:
        if call.credential is None or (
            self._settings.accepted_keys is not None and call.credential not in self._settings.accepted_keys
        ):
            return self.error(401, "x-toy-key is not known", request_id)
        if call.request.path == b"/toy/voices":
            return _json(200, {"voices": []}, request_id)
        assert call.document is not None
        usage = Usage(count_words(call.document.get("say")), plan.chunks)
        if call.is_stream:
            script = Script(200, [(b"content-type", b"text/event-stream"), *_ids(request_id)], _events(usage))
        else:
            body = json.dumps({"words": ["hi"] * plan.chunks, "usage": _usage(usage)}, separators=(",", ":")).encode()
            headers = [(b"content-type", b"application/json"), *_ids(request_id)]
            script = whole(200, headers, body, usage=usage, member="usage")
        script.delay = plan.delay
        return script

    def error(
        self, status: int, message: str, request_id: str, retry_after: bytes | None = None, kind: str = ""
    ) -> Script:
        return _json(status, {"error": message}, request_id)

    def error_event(self, kind: str) -> Frame:
        return frame(b'data: {"error":"the toy broke"}\n\n', is_last=True)

    def malformed(self, kind: str) -> Frame:
        return frame(b"data: {\n\n")

    def huge_event(self, size: int) -> Frame:
        return frame(b"data: " + b"x" * size + b"\n\n")


def _events(usage: Usage) -> Iterator[Frame]:
    for _ in range(usage.output_tokens):
        yield frame(b'data: {"word":"hi"}\n\n', tokens=1, is_paced=True)
    end = json.dumps({"usage": _usage(usage)}, separators=(",", ":"))
    yield frame(f"data: {end}\n\n".encode(), usage=usage, is_last=True)


def _usage(usage: Usage) -> dict[str, int]:
    return {"in": usage.input_tokens, "out": usage.output_tokens}


def _ids(request_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-toy-id", request_id.encode())]


def _json(status: int, document: object, request_id: str) -> Script:
    headers = [(b"content-type", b"application/json"), *_ids(request_id)]
    return whole(status, headers, json.dumps(document).encode())
