"""Where an answer stands: what it is made of, and whether one more event can follow the bytes so far.

A position is all that a dialect knows of an answer when it has to end it with an error. It is a plain value, so that a
dialect needs no knowledge of the readers that make positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Form(Enum):
    """What a client's answer is made of."""

    WHOLE = auto()  # one document, or anything that is compressed: nothing can be added
    EVENTS = auto()  # server-sent events
    ARRAY = auto()  # one JSON array, element by element
    FRAMES = auto()  # an AWS event stream


@dataclass(frozen=True, slots=True)
class Position:
    """Where an answer stands after the bytes that the client was sent.

    ``is_mid_event``: these bytes end inside an event, an element or a frame. ``separator``: what has to stand between
    them and one more element of an array, such as ``b","``; None where no element can follow. ``stream``: the
    dialect's own name for the kind of stream where it has several of one form, such as ``"converse"``.
    """

    form: Form
    is_mid_event: bool = False
    separator: bytes | None = None
    stream: str = ""


WHOLE = Position(Form.WHOLE)
"""The position of an answer to which nothing can be added, from its first byte to its last."""
