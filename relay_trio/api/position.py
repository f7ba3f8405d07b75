"""Where an answer stands: its form, and whether it stops inside an event."""

from __future__ import annotations

from enum import Enum, auto


class Form(Enum):
    """What a client's answer is made of, which decides whether an error can still be told inside it."""

    WHOLE = auto()  # one document, or something compressed: nothing can be added
    EVENTS = auto()  # server-sent events
    ARRAY = auto()  # one JSON array, element by element
    FRAMES = auto()  # an AWS event stream
