"""The two forms in which Gemini streams: server-sent events (``alt=sse``), and one JSON array, element by element.

A form knows how chunks, errors and broken events look in it; what is in a chunk is a matter of ``events``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from relay_trio.simulator.faults import SpecError
from relay_trio.simulator.script import Frame, frame
from relay_trio.simulator.vendors.gemini import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay_trio.simulator.vendors.gemini.events import Chunk


class Form(Protocol):
    """How a stream is written."""

    content_type: bytes

    def frames(self, chunks: Iterable[Chunk]) -> Iterator[Frame]:
        """The stream's events in order."""

    def error_body(self, document: object) -> bytes:
        """An error that comes in place of the stream."""

    def error_event(self, kind: str) -> Frame:
        """See ``effects.Dialect``."""

    def malformed(self, kind: str) -> Frame:
        """See ``effects.Dialect``."""

    def huge_event(self, size: int) -> Frame:
        """See ``effects.Dialect``."""


def pretty(document: object) -> bytes:
    """JSON as Google lays it out where it is not an event's data."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


class Events:
    """Server-sent events between CR LF CR LF, without names and without a ``[DONE]`` at the end."""

    content_type = b"text/event-stream"

    def frames(self, chunks: Iterable[Chunk]) -> Iterator[Frame]:
        """See ``Form``."""
        for chunk in chunks:
            yield frame(
                b"data: %b\r\n\r\n" % chunk.text.encode(),
                tokens=chunk.tokens,
                is_paced=chunk.is_paced,
                usage=chunk.usage,
                is_last=chunk.is_last,
            )

    def error_body(self, document: object) -> bytes:
        """See ``Form``."""
        return pretty(document)

    def error_event(self, kind: str) -> Frame:
        """Lines of JSON without ``data:``, as Google sends it in mid-stream."""
        return frame(pretty(errors.in_stream(kind)) + b"\n")

    def malformed(self, kind: str) -> Frame:
        """See ``effects.Dialect``; raises ``SpecError`` for a kind that there is not."""
        return frame(_of_kind(MALFORMED, kind))

    def huge_event(self, size: int) -> Frame:
        """A valid chunk of text of about ``size`` bytes, without usage."""
        return frame(b"data: %b\r\n\r\n" % json.dumps(_huge(size)).encode())


class Array:
    """One JSON array that is never sent whole: each element when it is made, the comma in front of the next.

    An ``error_event`` continues an array, so that one after no element at all (``error_event:0``) is not valid JSON.
    """

    content_type = b"application/json; charset=UTF-8"

    def frames(self, chunks: Iterable[Chunk]) -> Iterator[Frame]:
        """See ``Form``. What ends the stream is the bracket, not the finish reason."""
        opening = b"["
        for chunk in chunks:
            element = pretty(json.loads(chunk.text))
            yield frame(opening + element, tokens=chunk.tokens, is_paced=chunk.is_paced, usage=chunk.usage)
            opening = _COMMA
        yield frame(b"\n]", is_last=True)

    def error_body(self, document: object) -> bytes:
        """An array too, of the one error."""
        return b"[%b\n]" % pretty(document)

    def error_event(self, kind: str) -> Frame:
        """The array's last element."""
        return frame(_COMMA + pretty(errors.in_stream(kind)) + b"\n]")

    def malformed(self, kind: str) -> Frame:
        """See ``effects.Dialect``; raises ``SpecError`` for a kind that there is not."""
        return frame(_of_kind(MALFORMED_ELEMENTS, kind))

    def huge_event(self, size: int) -> Frame:
        """A valid element of about ``size`` bytes, without usage."""
        return frame(_COMMA + pretty(_huge(size)))


_COMMA = b"\n,\r\n"

MALFORMED = {
    "no_colon": b"this line has no colon\r\n\r\n",
    "bare_cr": b"data: {}\r\r",
    "lf": b"data: {}\n\n",
    "bom": b"\xef\xbb\xbfdata: {}\r\n\r\n",
    "empty_data": b"data:\r\n\r\n",
    "comment": b": a comment\r\n\r\n:\r\n\r\n",
    "unknown_event": b'event: from_the_future\r\ndata: {"fromTheFuture": true}\r\n\r\n',
    "unknown_field": b"id: 7\r\nretry: 10\r\n\r\n",
    "two_lines": b'data: {"candidates":\r\ndata: []}\r\n\r\n',
    "bad_utf8": b'data: {"\xff\xfe": 1}\r\n\r\n',
    "bad_json": b"data: {not json\r\n\r\n",
}
"""What an event stream may hold and nobody expects. Only ``bare_cr`` and ``no_colon`` are not even legal."""

MALFORMED_ELEMENTS = {
    "no_comma": b"\n{}",
    "scalar": _COMMA + b"7",
    "null": _COMMA + b"null",
    "nested": _COMMA + b"[{}]",
    "braces": _COMMA + b'{"text": "}]{[\\"}"}',
    "bad_utf8": _COMMA + b'{"\xff\xfe": 1}',
    "bad_json": _COMMA + b"{not json}",
}
"""The same for arrays; ``scalar``, ``null``, ``nested`` and ``braces`` are legal JSON."""


def _of_kind(kinds: dict[str, bytes], kind: str) -> bytes:
    if kind and kind not in kinds:
        raise SpecError(f"malformed:{kind} is none of {', '.join(kinds)}")
    return kinds[kind] if kind else b"".join(kinds.values())


def _huge(size: int) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": "h" * size}], "role": "model"}, "index": 0}]}
