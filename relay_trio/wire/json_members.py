"""The top-level members of one JSON object, found without building it.

Two callers need a few members of a body that may be 32 MB: the structural check of a client's request, and the reader
of a whole answer. ``json.loads`` on such bodies holds the event loop for seconds when they are made of brackets, so
this scanner goes over the bytes once, in whatever pieces they come, skips strings at the speed of the regular
expression engine, and stops at fixed limits: nesting depth, structural tokens, bytes of a captured value.

It is a scanner, not a validator: it finds where members begin and end. What it accepts may still not be JSON, and the
caller that needs to know parses the (now bounded) body afterwards.
"""

from __future__ import annotations

import json
import re

from relay_trio.wire.wire_error import WireError

_STRING_RUN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # possessive: no memory per escape
_STRUCTURE = re.compile(rb'["{}\[\],:]')

MAX_DEPTH = 64
MAX_TOKENS = 200_000
MAX_VALUE_BYTES = 64 * 1024


class JsonLimitError(WireError):
    """The body is nested deeper, or made of more tokens, than the limits allow; or its brackets do not match."""


class MemberScanner:
    """Feed it the bytes of one JSON object; it keeps the raw values of the top-level members in ``kept``.

    ``members`` maps each of those names to its raw value (the last one, as JSON parsers read it); ``duplicates`` lists
    the top-level names that stand twice; ``is_object``: whether the first value is an object;
    ``is_whole``: whether it was closed.
    """

    def __init__(
        self,
        kept: frozenset[str],
        *,
        max_depth: int = MAX_DEPTH,
        max_tokens: int | None = MAX_TOKENS,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        self.members: dict[str, bytes] = {}
        self.duplicates: list[str] = []
        self.is_object = False
        self.is_whole = False
        self._kept = kept
        self._max_depth = max_depth
        self._max_tokens = max_tokens
        self._max_value_bytes = max_value_bytes
        self._names: set[str] = set()
        self._depth = 0
        self._tokens = 0
        self._closers = bytearray()
        self._in_string = False
        self._escaped = False
        self._expects_name = False
        self._name: str | None = None
        self._capture: bytearray | None = None  # a name's string, or the value of a kept name
        self._captures_name = False

    def feed(self, data: bytes) -> None:
        """Scan ``data``, the next bytes, cut anywhere.

        Raises:
            JsonLimitError: a limit was passed; the scanner is done.
        """
        position, taken, end = 0, 0, len(data)
        while position < end:
            if self._in_string:
                position = self._skip_string(data, position)
                if self._in_string:
                    break
                if self._captures_name:
                    self._keep(data, taken, position - 1)
                    self._end_name()
                continue
            match = _STRUCTURE.search(data, position)
            if match is None:
                break
            at = match.start()
            position = at + 1
            token = data[at]
            if token == 0x22:  # "
                self._in_string = True
                if self._depth == 1 and self._expects_name:
                    self._expects_name = False
                    self._captures_name = True
                    self._capture = bytearray()
                    taken = position
            elif token == 0x3A:  # :
                if self._depth == 1 and self._name in self._kept and self._capture is None:
                    self._capture = bytearray()
                    taken = position
            else:
                if self._depth == 1 and token in b",}" and self._name is not None:
                    self._end_value(data, taken, at)
                self._nest(token)
        if self._capture is not None:
            self._keep(data, taken, end)

    def _skip_string(self, data: bytes, position: int) -> int:
        """The offset after the string's closing quote, or the end of ``data`` when it goes on."""
        if self._escaped:
            self._escaped = False
            position += 1
        match = _STRING_RUN.match(data, position)
        assert match is not None
        position = match.end()
        if position == len(data):
            return position
        if data[position] == 0x5C:  # a backslash that ends the piece
            self._escaped = True
            return position + 1
        self._in_string = False
        return position + 1

    def _nest(self, token: int) -> None:
        if token in b"{[":
            self._count()
            if self._depth == 0:
                self.is_object = token == 0x7B and not self.is_whole
                self._expects_name = self.is_object
            self._depth += 1
            self._closers.append(0x7D if token == 0x7B else 0x5D)
            if self._depth > self._max_depth:
                raise JsonLimitError(f"nested deeper than {self._max_depth} levels")
        elif token == 0x2C:  # ,
            self._count()
            if self._depth == 1 and self.is_object:
                self._expects_name = True
        else:
            if not self._closers or self._closers.pop() != token:
                raise JsonLimitError("brackets do not match")
            self._depth -= 1
            if self._depth == 0:
                self.is_whole = True

    def _count(self) -> None:
        self._tokens += 1
        if self._max_tokens is not None and self._tokens > self._max_tokens:
            raise JsonLimitError(f"more than {self._max_tokens} values")

    def _keep(self, data: bytes, start: int, end: int) -> None:
        assert self._capture is not None
        self._capture += data[start:end]
        if len(self._capture) > self._max_value_bytes:
            if self._captures_name:
                raise JsonLimitError(f"a name longer than {self._max_value_bytes} bytes")
            self._capture = None
            self._name = None

    def _end_name(self) -> None:
        assert self._capture is not None
        raw = bytes(self._capture)
        self._captures_name = False
        self._capture = None
        try:
            name = str(json.loads(b'"' + raw + b'"')) if b"\\" in raw else raw.decode("utf-8", "replace")
        except ValueError:
            name = raw.decode("utf-8", "replace")
        if name in self._names:
            self.duplicates.append(name)
        self._names.add(name)
        self._name = name

    def _end_value(self, data: bytes, start: int, end: int) -> None:
        if self._capture is not None and self._name is not None:
            self._keep(data, start, end)
            if self._capture is not None and self._name is not None:
                self.members[self._name] = bytes(self._capture).strip()
        self._capture = None
        self._name = None
