"""The dialects: what a client sends in each, what the upstream answers, and how the generator knows an event of it.

The upstream tells by a request's path which answer is meant. All of them say the same words at the same pace, so what
differs between two cells is the dialect alone: server-sent events of Claude (``order``), the same events in frames of
Bedrock's, with real checksums and padding, and Gemini's, each of which has a usage. They look like recorded ones.

``translated`` is a client of Claude's that is served by Bedrock: what arrives must be Claude's own stream.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.order import DELTAS, EVENTS_BESIDE_DELTAS, OPENING, closing, delta, whole_message
from relay_trio.simulator.samples import Prompt
from relay_trio.simulator.vendors.bedrock import samples as bedrock
from relay_trio.simulator.vendors.claude import samples as claude
from relay_trio.simulator.vendors.gemini import samples as gemini
from relay_trio.wire.event_stream import encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.order import Order
    from relay_trio.simulator.samples import SampleRequest

TRANSLATED_MODEL = "claude-haiku-4-5"
"""What clients of Claude's name when Bedrock is to serve them."""

_PROMPT_TOKENS = 25


@dataclass(frozen=True, slots=True)
class Answers:
    """How answers look. ``headers``: the lines of a stream's head; ``delta``: an event of any text."""

    headers: str
    opening: bytes
    deltas: tuple[bytes, ...]
    delta: Callable[[str], bytes]
    closing: Callable[[int], bytes]
    whole: Callable[[Order], bytes]

    def stream(self, order: Order) -> bytes:
        """The body of the answer to ``order``, when it is not cut short."""
        deltas = b"".join(self.deltas[number % len(self.deltas)] for number in range(order.deltas))
        return self.opening + deltas + self.closing(order.deltas)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a client sends, and what it gets. ``mark`` is in each event once, ``beside_deltas`` events are no deltas.

    ``form`` writes a request; ``model`` empty is its sample model.
    """

    name: str
    title: str
    form: Callable[[Prompt], SampleRequest]
    mark: bytes
    beside_deltas: int
    answers: Answers
    model: str = ""

    def request(self, order: Order, at_least_bytes: int) -> SampleRequest:
        """A request with this order in it, padded as a long conversation would be."""
        prompt = Prompt(order.prompt(), 4096, "", is_stream=bool(order.stream), model=self.model)
        padding = max(0, at_least_bytes - len(self.form(prompt).body))
        return self.form(replace(prompt, text=prompt.text + " lorem ipsum" * (padding // 12)))


# --- Bedrock: Claude's events in frames ---------------------------------------------------------------------------

_CHUNK = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _frames(events: bytes, metrics: dict[str, Any] | None = None) -> bytes:
    """One frame for each of ``events``; the last of them gets ``metrics``."""
    texts = [block.partition(b"\ndata: ")[2] for block in events.removesuffix(b"\n\n").split(b"\n\n")]
    if metrics is not None:
        texts[-1] = _compact({**json.loads(texts[-1]), "amazon-bedrock-invocationMetrics": metrics})
    return b"".join(encode_frame(_CHUNK, _compact(_chunk(text))) for text in texts)


def _chunk(text: bytes) -> dict[str, str]:
    return {"bytes": base64.b64encode(text).decode(), "p": _PADDING[: sum(text) % len(_PADDING)]}


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _bedrock_closing(output_tokens: int) -> bytes:
    metrics = {"inputTokenCount": _PROMPT_TOKENS, "outputTokenCount": output_tokens}
    return _frames(closing(output_tokens), {**metrics, "invocationLatency": 738, "firstByteLatency": 378})


# --- Gemini -------------------------------------------------------------------------------------------------------


def _gemini(text: str, output_tokens: int, **candidate: str) -> dict[str, Any]:
    content = {"parts": [{"text": text}], "role": "model"}
    usage = {
        "promptTokenCount": _PROMPT_TOKENS,
        "candidatesTokenCount": output_tokens,
        "totalTokenCount": _PROMPT_TOKENS + output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": _PROMPT_TOKENS}],
    }
    return {
        "candidates": [{"content": content, **candidate, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": gemini.MODEL,
        "responseId": "hVP6afiZEuitz7IPypuAsQY",
    }


def _gemini_event(text: str, output_tokens: int = 1, **candidate: str) -> bytes:
    data = json.dumps(_gemini(text, output_tokens, **candidate), separators=(",", ": "))
    return f"data: {data}\r\n\r\n".encode()


def _gemini_closing(output_tokens: int) -> bytes:
    return _gemini_event("", output_tokens, finishReason="STOP")


def _gemini_whole(order: Order) -> bytes:
    return json.dumps(_gemini("lorem ipsum " * 50, max(1, order.deltas), finishReason="STOP"), indent=2).encode()


# --- all of them --------------------------------------------------------------------------------------------------

_SSE = "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
_FRAMES = "content-type: application/vnd.amazon.eventstream\r\nx-amzn-bedrock-content-type: application/json\r\n"

CLAUDE = Answers(_SSE, OPENING, DELTAS, delta, closing, whole_message)
BEDROCK = Answers(
    headers=_FRAMES,
    opening=_frames(OPENING),
    deltas=tuple(_frames(event) for event in DELTAS),
    delta=lambda text: _frames(delta(text)),
    closing=_bedrock_closing,
    whole=whole_message,
)
GEMINI = Answers(
    headers="content-type: text/event-stream\r\n",
    opening=_gemini_event("Once"),
    deltas=tuple(_gemini_event(f" tok{number:03}", 1 + number) for number in range(len(DELTAS))),
    delta=_gemini_event,
    closing=_gemini_closing,
    whole=_gemini_whole,
)

DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "claude",
            "Claude",
            form=claude.messages,
            mark=b"data: ",
            beside_deltas=EVENTS_BESIDE_DELTAS,
            answers=CLAUDE,
        ),
        Dialect(
            "bedrock",
            "Bedrock",
            form=bedrock.invoke,
            mark=b":event-type",
            beside_deltas=EVENTS_BESIDE_DELTAS,
            answers=BEDROCK,
        ),
        Dialect(
            "translated",
            "Bedrock → Claude",
            form=claude.messages,
            model=TRANSLATED_MODEL,
            mark=b"data: ",
            beside_deltas=EVENTS_BESIDE_DELTAS,
            answers=CLAUDE,
        ),
        Dialect(
            "gemini",
            "Gemini",
            form=gemini.events,
            mark=b"data: ",
            beside_deltas=2,
            answers=GEMINI,
        ),
    )
}


def answers_at(path: bytes) -> Answers:
    """What an upstream answers there."""
    if path.startswith(b"/model/"):
        return BEDROCK
    return GEMINI if path.startswith(b"/v1beta/") else CLAUDE
