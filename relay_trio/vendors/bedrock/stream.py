"""The readers of Bedrock's event streams: usage, end and errors.

The checksums of every frame are verified, and few frames are parsed. A chunk of ``invoke-with-response-stream`` holds
the model's own event in base64; a chunk that begins like a delta of Claude's text costs one search. Beside ``bytes``, a
chunk has ``p``, padding of random length without a meaning.
"""

from __future__ import annotations

import binascii
import json
from typing import TYPE_CHECKING, Any

from relay_trio.api.answer_reader import Ending
from relay_trio.api.metering import NOTHING, UsageFold
from relay_trio.api.position import Form, Position
from relay_trio.api.verdict import NamesInAnswers
from relay_trio.errors import UpstreamError, UpstreamErrorEvent, UpstreamProtocolError
from relay_trio.usage import UsageSource
from relay_trio.vendors.bedrock.usage import METRICS_FIELDS, ConverseUsage
from relay_trio.vendors.claude.stream import ClaudeFold
from relay_trio.wire.event_stream import RawFrames, parse_frame
from relay_trio.wire.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay_trio.usage import UsageStats
    from relay_trio.wire.event_stream import Frame

INVOKE_STREAM = "invoke"
CONVERSE_STREAM = "converse"
"""The two kinds of stream, as an answer's position names them."""

OWN_MEMBERS = "amazon-bedrock-"
"""The prefix of the members that Bedrock adds to a model's own events."""

_METRICS = OWN_MEMBERS + "invocationMetrics"
_GUARDRAIL_ACTION = OWN_MEMBERS + "guardrailAction"
_END_MEMBERS = (OWN_MEMBERS + "trace", "totalOutputTextTokenCount", "completionReason", "stop_reason", "metadata")
"""Members of the last chunk alone, in answers that a guardrail gave in the model's place. These have no metrics."""

_DELTA_OF_CLAUDE = b'"bytes":"eyJ0eXBlIjoiY29u'  # base64 of {"type":"con, as in content_block_delta
_PINGS = (b'"bytes":"eyJ0eXBlIjoicGlu', b'"bytes":"eyJ0eXBlIjogInBp')  # {"type":"pin and {"type": "pi
_OVERLOAD = "serviceunavailableexception"
_NAMES = NamesInAnswers(
    limited=frozenset({"throttlingexception", _OVERLOAD, "toomanyrequestsexception"}),
    refused=frozenset({"accessdeniedexception", "unrecognizedclientexception", "expiredtokenexception"}),
    rejected=frozenset({"validationexception"}),
)
"""In lower case: frames and headers write them differently."""


def reported_error(frame: Frame) -> UpstreamError | None:
    """The error that a frame reports, or None for an event. Frames of the type ``exception`` are errors that the API
    declares; frames of the type ``error`` are others."""
    kind = frame.headers.get(":message-type")
    if kind == "exception":
        name = str(frame.headers.get(":exception-type", ""))
    elif kind == "error":
        name = str(frame.headers.get(":error-code", ""))
    else:
        return None
    shown = "".join(character for character in name[:64] if character.isalnum()) or "an error"
    return _NAMES.error(_OVERLOAD if _is_overload(frame.payload) else name.lower(), shown)


def error_of_document(document: dict[str, Any]) -> UpstreamError | None:
    """The error that a document is which came with status 200; None where it is an answer. AWS's gateways send such
    ones, and some models do: nothing but a message."""
    message = document.get("message", document.get("Message"))
    if "__type" in document or document.get("type") == "error" or (isinstance(message, str) and len(document) == 1):
        return UpstreamErrorEvent("the upstream reported an error inside its answer")
    return None


def _is_overload(payload: bytes) -> bool:
    """Whether a model stream error says that the model behind it was too busy."""
    details = parsed_object(payload)
    return details is not None and details.get("originalStatusCode") in (429, 503, 529)


def parsed_object(text: bytes) -> dict[str, Any] | None:
    """``text`` as a JSON object, or None where it is no object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def chunk_bytes(payload: bytes) -> bytes | None:
    """The model's own event in the payload of a ``chunk``, or None where it cannot be read."""
    start = payload.find(b'"bytes":"')
    end = payload.find(b'"', start + 9)
    encoded: bytes | str = payload[start + 9 : end]
    if start < 0 or end < 0 or b"\\" in payload[start + 9 : end]:
        chunk = parsed_object(payload)
        encoded = chunk.get("bytes", "") if chunk is not None else ""
        if not isinstance(encoded, str):
            return None
    try:
        return binascii.a2b_base64(encoded, strict_mode=True) or None
    except ValueError:
        return None


def is_ping(raw: bytes) -> bool:
    """Whether a frame is a chunk with a ping of Claude's."""
    return any(ping in raw for ping in _PINGS)


class _FrameReader:
    """Reads a stream of frames, and alters nothing. Damage is the upstream's error: the client, who gets the same
    bytes, finds it too."""

    stream: str
    is_error_forwarded = True

    def __init__(self) -> None:
        self.error: UpstreamError | None = None
        self.ending = Ending.OPEN
        self.has_substance = False
        self._frames = RawFrames(self.is_worth_a_look)

    @property
    def has_begun(self) -> bool:
        """Whether a frame other than a ping was read, or the beginning of one."""
        return self.has_substance or self._frames.is_mid_frame

    @property
    def position(self) -> Position:
        """Between two frames, or inside one."""
        return Position(Form.FRAMES, self._frames.is_mid_frame, stream=self.stream)

    def feed(self, data: bytes) -> bytes:
        if self._frames.damage is None:
            try:
                for raw in self._frames.feed(data):
                    if self.is_worth_a_look(raw):
                        self._look_into(parse_frame(raw))
                    if not self.has_substance:
                        self.has_substance = self.error is None and not is_ping(raw)
                damage = self._frames.damage
            except WireError as error:
                damage = str(error)
            if damage is not None:
                self._frames.damage = damage
                self.error = self.error or UpstreamProtocolError(f"the upstream sent a damaged event stream: {damage}")
                self.ending = Ending.DUE
        return data

    def _look_into(self, frame: Frame) -> None:
        self.error = self.error or reported_error(frame)
        if self.error is None:
            self.observe(frame)
        if self.error is not None:
            self.ending = Ending.DUE

    @staticmethod
    def is_worth_a_look(raw: bytes) -> bool:
        raise NotImplementedError

    def observe(self, frame: Frame) -> None:
        raise NotImplementedError


class InvokeStreamReader(_FrameReader):
    """Reads ``invoke-with-response-stream``. In a stream of Claude's, the events are folded, and the metrics, which
    repeat them, are ignored. In a stream of another model, the metrics are the usage."""

    stream = INVOKE_STREAM

    def __init__(self, known: Mapping[str, int | str] = NOTHING) -> None:
        """``known``: what the answer's head says of its usage."""
        super().__init__()
        self._claude = ClaudeFold(known)
        self._metrics = UsageFold(METRICS_FIELDS, known)

    @property
    def is_complete(self) -> bool:
        if self.error is not None:
            return True
        return self.ending is Ending.FINAL

    @staticmethod
    def is_worth_a_look(raw: bytes) -> bool:
        return _DELTA_OF_CLAUDE not in raw

    def observe(self, frame: Frame) -> None:
        event = chunk_bytes(frame.payload)
        if event is None:
            return
        if ClaudeFold.is_worth_a_look(event):
            self._claude.observe(event)
            self.error = self.error or self._claude.error
            self.ending = self._claude.ending
        if OWN_MEMBERS.encode() in event and not self._claude.has_begun:
            chunk = parsed_object(event)
            if chunk is not None:
                self._metrics.overwrite(chunk.get(_METRICS))
                if _METRICS in chunk or _is_guardrails_last(chunk):
                    self.ending = Ending.FINAL

    def finish(self) -> UsageStats:
        if self._frames.damage is not None:
            self._claude.spoil()
            self._metrics.spoil()
        if self._claude.has_begun:
            return self._claude.stats()
        return self._metrics.stats(UsageSource.EXACT)


def _is_guardrails_last(chunk: dict[str, Any]) -> bool:
    is_guardrails = chunk.get(_GUARDRAIL_ACTION) == "INTERVENED"
    return is_guardrails and any(chunk.get(name) is not None for name in _END_MEMBERS)


class ConverseStreamReader(_FrameReader):
    """Reads ``converse-stream``, whose last event, ``metadata``, has the usage."""

    stream = CONVERSE_STREAM

    def __init__(self) -> None:
        super().__init__()
        self._usage = ConverseUsage()

    @property
    def is_complete(self) -> bool:
        return self.ending is not Ending.OPEN

    @staticmethod
    def is_worth_a_look(raw: bytes) -> bool:
        return b"metadata" in raw or b":exception-type" in raw or b":error-code" in raw

    def observe(self, frame: Frame) -> None:
        if frame.headers.get(":event-type") != "metadata":
            return
        self.ending = Ending.FINAL
        metadata = parsed_object(frame.payload) or {}
        self._usage.overwrite(metadata.get("usage"), metadata)

    def finish(self) -> UsageStats:
        if self._frames.damage is not None:
            self._usage.spoil()
        return self._usage.stats(UsageSource.EXACT)
