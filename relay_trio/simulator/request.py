"""Requests as they arrive: llhttp's events gathered into whole ones. Bytes in, requests out, no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from relay_trio.simulator.script import Headers


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request: ``target`` as on the request line, header names in lower case.

    ``is_too_large``: its body was longer than allowed and is not here whole.
    """

    method: str
    target: bytes
    headers: Headers
    body: bytes
    is_kept_alive: bool
    is_too_large: bool = False

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        return self.target.partition(b"?")[2]

    def header(self, name: bytes) -> bytes | None:
        """The first value of ``name`` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


def document_of(request: Request) -> dict[str, Any] | None:
    """The body as a JSON object; None where it is none."""
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


class RequestReader:
    """``feed`` it what was received and take whole requests out of ``requests``."""

    def __init__(self, max_body_bytes: int) -> None:
        self.requests: list[Request] = []
        self.continues_wanted = 0
        """How often ``Expect: 100-continue`` came since this was last set to 0."""
        self.is_broken = False
        """Whether something came that is not HTTP, or too large: nothing more will be read."""
        self._max_body_bytes = max_body_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._target = bytearray()
        self._headers: Headers = []
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Take ``data``, cut anywhere. Never raises."""
        if self.is_broken:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.is_broken = True

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        self._target.clear()
        self._headers = []
        self._body = bytearray()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        for name, value in self._headers:
            if name == b"expect" and value.lower() == b"100-continue":
                self.continues_wanted += 1
            elif name == b"content-length" and int(value) > self._max_body_bytes:
                self._give_up()

    def on_body(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > self._max_body_bytes:
            self._give_up()

    def on_message_complete(self) -> None:
        if not self.is_broken:
            self._finish(is_too_large=False)

    def _give_up(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            self._body.clear()
            self._finish(is_too_large=True)

    def _finish(self, *, is_too_large: bool) -> None:
        self.requests.append(
            Request(
                method=self._parser.get_method().decode("ascii", "replace"),
                target=bytes(self._target),
                headers=self._headers,
                body=bytes(self._body),
                is_kept_alive=self._parser.should_keep_alive() and not is_too_large,
                is_too_large=is_too_large,
            )
        )
