"""The elements of one JSON array that is streamed piecemeal, as Gemini answers without ``alt=sse``.

    [{"candidates": …}
    ,
    {"candidates": …, "usageMetadata": …}
    ]

The same route answers with a single object when it fails before its stream begins, so that is read too, as the only
element. Elements are objects; anything else where one should begin is damage.

It is a scanner, not a validator: an element ends where its braces, outside of strings, are balanced. Whether that is
JSON, and how deep it is nested, is for the one who reads the element, within a bound that is known by then. An element
that grows beyond ``long_runs.LARGE_BYTES`` goes on without its long runs; one that is larger than ``max_element_bytes``
all the same is dropped and counted in ``oversized``.

``feed`` first returns the elements before a damage, raises only when there are none, and from then on always: so every
cut of the same bytes gives the same elements. ``damage`` holds the error from the moment it is found.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from relay_trio.wire.long_runs import LARGE_BYTES, MAX_BYTES, without_long_runs
from relay_trio.wire.wire_error import WireError

_STRING_REST = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'  # possessive: no memory per escape
_TO_STRING_END = re.compile(_STRING_REST, re.DOTALL)
_TO_BRACE = re.compile(rb'[^"{}]*+(?:"' + _STRING_REST + rb'"[^"{}]*+)*+', re.DOTALL)  # or to an unfinished string
_SPACE = re.compile(rb"[ \t\r\n]*+")


class _Place(Enum):
    START = auto()
    OPENED = auto()  # after [
    ELEMENT = auto()
    AFTER_ELEMENT = auto()
    AFTER_COMMA = auto()
    END = auto()


_EXPECTED = {
    _Place.START: "[ or an object",
    _Place.OPENED: "an object or ]",
    _Place.AFTER_ELEMENT: ", or ]",
    _Place.AFTER_COMMA: "an object",
    _Place.END: "nothing more",
}

_JOINTS = {
    _Place.START: b"[",
    _Place.OPENED: b"",
    _Place.AFTER_ELEMENT: b",",
    _Place.AFTER_COMMA: b"",
}


class JsonArrayElements:
    """``feed(bytes) -> elements``: the bytes of each whole element, without the space around it."""

    def __init__(self, max_element_bytes: int = MAX_BYTES) -> None:
        self.oversized = 0
        """How many elements were dropped for their size."""
        self.damage: str | None = None
        """What is wrong with the stream, or None while nothing is."""
        self.is_array = False
        """Whether the opening bracket was seen."""
        self._max_element_bytes = max_element_bytes
        self._large_bytes = LARGE_BYTES  # when the unfinished element is reduced
        self._place = _Place.START
        self._kept = bytearray()  # the unfinished element; of a dropped one, what was not scanned
        self._scanned = 0  # of what is kept
        self._is_dropping = False
        self._depth = 0
        self._in_string = False

    @property
    def is_complete(self) -> bool:
        """Whether the closing bracket, or the end of the single object, was seen."""
        return self._place is _Place.END

    @property
    def is_mid_element(self) -> bool:
        """Whether the stream so far ends inside an element. Then nothing that is appended can make it whole."""
        return self._place is _Place.ELEMENT

    @property
    def joint(self) -> bytes | None:
        """What has to stand between the stream so far and one more element: ``[``, ``,`` or nothing.

        None where no element can follow: inside one, after the end, in a damaged stream.
        """
        return _JOINTS.get(self._place) if self.damage is None else None

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that ``data`` completes, in order. ``data`` may be cut anywhere.

        Raises:
            WireError: the stream is damaged, and every element before the damage was returned.
        """
        if self.damage is not None:
            raise WireError(self.damage)
        elements: list[bytes] = []
        try:
            self._split(data, elements)
        except WireError as error:
            self.damage = str(error)
            if not elements:
                raise
        return elements

    def _split(self, data: bytes, elements: list[bytes]) -> None:
        source: bytes | bytearray = data
        begin = 0  # of the element
        position = self._scanned
        if self._place is _Place.ELEMENT:
            self._kept += data
            source = self._kept
        end = len(source)
        while True:
            if self._place is not _Place.ELEMENT:
                begin = self._next_element(source, position)
                if begin == end:
                    self._kept.clear()
                    self._scanned = 0
                    return
                position = begin
            position = self._skip_element(source, position)
            if self._depth:
                break
            self._place = _Place.AFTER_ELEMENT if self.is_array else _Place.END
            if self._is_dropping:
                self._is_dropping = False
            elif position - begin > self._max_element_bytes:
                self.oversized += 1
            else:
                elements.append(bytes(memoryview(source)[begin:position]))
        self._keep(source, begin, position)

    def _next_element(self, source: bytes | bytearray, position: int) -> int:
        """The offset where the next element begins, or the end of ``source``."""
        end = len(source)
        while True:
            space = _SPACE.match(source, position)
            assert space is not None
            position = space.end()
            if position == end:
                return end
            token = source[position]
            place = self._place
            if token == 0x7B and place not in (_Place.AFTER_ELEMENT, _Place.END):  # {
                self._place = _Place.ELEMENT
                return position
            if token == 0x5B and place is _Place.START:  # [
                self._place = _Place.OPENED
                self.is_array = True
            elif token == 0x2C and place is _Place.AFTER_ELEMENT:  # ,
                self._place = _Place.AFTER_COMMA
            elif token == 0x5D and place in (_Place.OPENED, _Place.AFTER_ELEMENT):  # ]
                self._place = _Place.END
            else:
                raise WireError(f"expected {_EXPECTED[place]}, something else came")
            position += 1

    def _skip_element(self, source: bytes | bytearray, position: int) -> int:
        """The offset after the element (the depth is 0 then), or from where to go on."""
        end = len(source)
        while position < end:
            match = (_TO_STRING_END if self._in_string else _TO_BRACE).match(source, position)
            assert match is not None
            position = match.end()
            if position == end:
                break
            token = source[position]
            if token == 0x5C:  # a backslash ends the piece: again when its other half is here
                break
            position += 1
            if token == 0x22:  # "
                self._in_string = not self._in_string
            elif token == 0x7B:  # {
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    break
        return position

    def _keep(self, source: bytes | bytearray, begin: int, scanned: int) -> None:
        """Keep of ``source`` what the rest of the unfinished element needs."""
        if not self._is_dropping and len(source) - begin > self._max_element_bytes:
            self.oversized += 1
            self._is_dropping = True
        if self._is_dropping:
            begin = scanned
        if source is self._kept:
            del self._kept[:begin]
        else:
            self._kept += source[begin:]
        self._scanned = scanned - begin
        if len(self._kept) > self._large_bytes:
            self._reduce()

    def _reduce(self) -> None:
        """Take the long runs out of what was scanned. It is tried again when there is twice as much."""
        reduced = without_long_runs(self._kept[: self._scanned])
        self._kept[: self._scanned] = reduced
        self._scanned = len(reduced)
        self._large_bytes = max(LARGE_BYTES, 2 * len(self._kept))
